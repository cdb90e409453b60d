"""What all stages share: the checked configuration, the plan, and how settings reach a job.

In: the merged configuration. Out: CONFIG and PLAN; no job starts where the configuration has a problem.
"""

from functools import cache
from inspect import signature

from turncoat.configuration import settings
from turncoat.configuration.cells import canonical_json
from turncoat.configuration.console import failed_jobs_text, plan_text
from turncoat.configuration.device import has_gpu
from turncoat.configuration.disk import require_room
from turncoat.configuration.errors import ConfigurationError
from turncoat.configuration.loading import load_config, read_yaml
from turncoat.configuration.manifest import accepted_codes, save_study
from turncoat.configuration.plan import expand as plan_of
from turncoat.configuration.plan import own_cells
from turncoat.configuration.studies import open_study
from turncoat.acceptance import accepted_in, accepted_text
from turncoat.fingerprint import files_fingerprint, stage_fingerprint
from turncoat.run_lock import RunLockError, hold_lock, new_run

REPOSITORY = Path(workflow.basedir)
OVERLAYS = list(workflow.config_settings.configfiles)


def checked(function, *arguments):
    """Call a function; a problem of the configuration, or another run, ends this one with a message and no traceback."""
    try:
        return function(*arguments)
    except (ConfigurationError, RunLockError) as error:
        sys.exit(str(error))


checked(read_yaml, REPOSITORY / "config.yaml")  # says what is malformed and where; `configfile:` does not


configfile: f"{workflow.basedir}/config.yaml"


if workflow.is_main_process:
    CONFIG = checked(open_study, config, REPOSITORY, OVERLAYS, workflow.config_settings.config)
    checked(require_room, Path.cwd())
else:  # a job's process on a cluster: whose study this is, was settled by the process that submitted it
    CONFIG = checked(load_config, config, "the configuration that the job was given")
HAS_GPU = checked(has_gpu)
# Decided once: a job that was promised a GPU fails where it sees none, and no other takes one that was not given to it.
os.environ.update(TURNCOAT_DEVICE="cuda" if HAS_GPU else "cpu")
ENVIRONMENT = "../../envs/turncoat-cuda.yaml" if HAS_GPU else "../../envs/turncoat.yaml"
# MB of the host: CUDA itself takes some thousands, PyTorch on a CPU some hundreds.
MEMORY = 8000 if HAS_GPU else 1500
PLAN = checked(plan_of, CONFIG)
if workflow.is_main_process:  # a job's process is told by the one that submitted it
    accepted = checked(accepted_codes, CONFIG.study)
    os.environ.update(
        TURNCOAT_RUN=new_run(Path("results", CONFIG.study)),
        TURNCOAT_ACCEPTED=accepted_text(accepted),
    )
ACCEPTED = accepted_in(os.environ.get("TURNCOAT_ACCEPTED", ""))


wildcard_constraints:
    cell="[0-9a-f]{10}",
    block="[0-9]+-[0-9]+",


def of_jobs(function):
    """Keep the function's signature with it: Snakemake asks for it three times a job, and it is slow to find."""
    function.__signature__ = signature(function)
    return function


@cache
def settings_text(cell):
    """Settings of a cell, as JSON."""
    return canonical_json(PLAN.cell(cell).settings)


@cache
def ledger_text(cell):
    """What the ledger of a cell depends on, as JSON."""
    return canonical_json(settings.ledger(CONFIG, PLAN.cell(cell).settings))


@of_jobs
def cell_settings(wildcards):
    """Settings of the job's cell, as JSON."""
    return settings_text(wildcards.cell)


@of_jobs
def ledger_settings(wildcards):
    """What the ledger of the job's cell depends on, as JSON."""
    return ledger_text(wildcards.cell)


@of_jobs
def first_seed(wildcards):
    """First seed of the job's block."""
    return PLAN.block(wildcards.block).first


@of_jobs
def seed_count(wildcards):
    """Seeds in the job's block."""
    return PLAN.block(wildcards.block).count


@of_jobs
def parent_files(wildcards):
    """What a cell starts from: its parent's weights on the same seeds, and the optimizer's state where that is carried
    on; nothing from scratch."""
    cell = PLAN.cell(wildcards.cell)
    if cell.parent is None:
        return {}
    folder = f"<study>/{PLAN.cell(cell.parent).stage}/{cell.parent}/{wildcards.block}"
    files = {"parent": f"{folder}/weights.safetensors"}
    if cell.settings["training"]["optimizer_state"] == "carried":
        files["state"] = f"{folder}/optimizer.safetensors"
    return files


@of_jobs
def carried_files(wildcards):
    """What the optimizer's state at step 0 is read from where it was carried on from a cell's parent."""
    files = parent_files(wildcards)
    return files if "state" in files else {}


@of_jobs
def parent_option(wildcards, input):
    """The stage's option that names the parent's folder, empty from scratch."""
    return ["--parent", os.path.dirname(input.parent)] if "parent" in input.keys() else []


@of_jobs
def training_folder(wildcards, output):
    """Where the job's training leaves its results."""
    return os.path.dirname(output.weights)


@of_jobs
def checkpoints(wildcards, output):
    """Where the job's training is kept while it goes on: no output, so that a job that was cut off finds it again."""
    *study, stage, cell, block, _ = output.weights.split(os.sep)
    return os.sep.join([*study, "checkpoints", stage, cell, block])


def stage_code(stage, plugins=()):
    """Fingerprint of a stage's code; of the earlier code where this one was shown to make its results bit for bit."""
    found = stage_fingerprint(stage, plugins=plugins)
    return ACCEPTED.get(found, found)


def training_code(stage):
    """A function from the job's wildcards to the fingerprint of the code that trains its cell, its dodge included."""
    known = {}

    @of_jobs
    def of_job(wildcards):
        dodge = PLAN.cell(wildcards.cell).settings.get("dodge")
        if dodge not in known:
            known[dodge] = stage_code(stage, plugins=[f"dodges/{dodge}"] if dodge else [])
        return known[dodge]

    return of_job


@of_jobs
def trained_weights(wildcards):
    """Weights of the job's cell, whichever stage trained it."""
    stage = PLAN.cell(wildcards.cell).stage
    return f"<study>/{stage}/{wildcards.cell}/{wildcards.block}/weights.safetensors"


def probed_weights(wildcards):
    """Weights of the fine-tuned cells that the defection probe compares."""
    return of_blocks(
        "<study>/finetune/{cell}/{block}/weights.safetensors", [cell.id for cell in own_cells(PLAN)]
    )


def reinforced_files():
    """What reinforcement writes: for planted networks and for each cell that asks for it, every block."""
    return of_blocks("<study>/reinforce/{cell}/{block}.parquet", PLAN.reinforced)


def every(pattern, stage=None):
    """The files of `pattern` for every block of every cell of a stage; or of all stages whose models are classified."""
    return of_blocks(pattern, PLAN.ids(stage) if stage else PLAN.ids("pretrain") + PLAN.ids("finetune"))


def of_blocks(pattern, cells):
    """The files of `pattern` for every block of these cells."""
    return [pattern.format(cell=cell, block=block.name) for cell in cells for block in PLAN.blocks]


def refuse_unrecorded():
    """End the run where results that Snakemake has no record of were not made with today's code and settings."""
    dag = workflow.dag
    kept = [job for job in dag.jobs if dag.reason(job).no_metadata and not dag.needrun(job)]
    if not kept:
        return
    from turncoat.tables.unrecorded import not_as_planned  # loads pyarrow

    unlike = not_as_planned((job.output, job.params.code, job.params.get("settings", "")) for job in kept)
    if unlike:
        listing = Path("results", CONFIG.study, "unrecorded.txt")
        listing.write_text("".join(f"{path}\n" for path in unlike))
        sys.exit(
            f"{len(unlike)} results, {unlike[0]} first, have no record of how they were made, as where a job outlived "
            "the run that started it; and they do not say that this code made them with these settings. To make them "
            f"again: xargs rm -f < {listing}, then run again."
        )
