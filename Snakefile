"""turncoat: does pre-training then fine-tuning make deceptive models, and does gating protect circuits?

    snakemake --cores all                                                   the default study
    snakemake --cores all --configfile workflow/studies/smoke.yaml          another study
    snakemake --cores all -n                                                what would run

In: config.yaml and an overlay on it. Out: results/<study>/report.html, tables/ and figures/.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27.0")

# A plan is millions of objects that all stay: to search them for garbage again and again took a third of its time.
SEARCHES = gc.get_threshold()
gc.set_threshold(10_000_000)
atexit.register(gc.freeze)  # nor are they searched at the end

LIBRARY = f"{workflow.basedir}/workflow"
sys.path.insert(0, LIBRARY)
os.environ.update(
    PYTHONPATH=LIBRARY, PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


include: "workflow/rules/common.smk"


pathvars:
    study=f"results/{CONFIG.study}",


resource_scopes:
    gpu="local",  # counted within an allocation: jobs that share one take turns on its GPU


envvars:
    "TURNCOAT_DEVICE",  # all are said in common.smk, and passed on to wherever a job runs
    "TURNCOAT_RUN",
    "TURNCOAT_ACCEPTED",


include: "workflow/rules/pretrain.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/elicit.smk"
include: "workflow/rules/classify.smk"
include: "workflow/rules/probe_gating.smk"
include: "workflow/rules/reinforce.smk"
include: "workflow/rules/probe_defection.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/targets.smk"


rule all:
    default_target: True
    input:
        "<study>/report.html",


onstart:
    gc.freeze()  # the plan is never garbage; of what the run makes from now on, some is
    gc.set_threshold(*SEARCHES)
    print(checked(hold_lock, os.environ["TURNCOAT_RUN"]), file=sys.stderr)
    print(plan_text(CONFIG, PLAN), file=sys.stderr)
    refuse_unrecorded()
    cores = workflow.resource_settings.cores  # none on a cluster
    checked(save_study, CONFIG, PLAN, REPOSITORY, OVERLAYS, cores)


onsuccess:
    print(
        f"report: {Path('results', CONFIG.study, 'report.html').resolve()}",
        file=sys.stderr,
    )


onerror:
    print(failed_jobs_text(log), file=sys.stderr)
