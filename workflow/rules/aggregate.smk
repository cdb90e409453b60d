"""From measurements to answers.

In: every job's rows (found through the configuration's plan, not listed on the command line: that ends at 128 KiB).
Out: the study's tables, then its figures and report.
"""

CONFIGURATION = canonical_json(CONFIG.model_dump())
TABLES = [
    "organisms",
    "trajectories",
    "alignment",
    "gating",
    "reinforcement",
    "curves",
    "causes",
    "knowledge",
    "defection",
    "populations",
    "multiverse",
    "motives",
    "validation",
    "reliability",
    "cutoffs",
    "coverage",
    "discrimination",
    "trust",
    "levels",
    "contrasts",
    "priors",
    "persistence",
    "half_lives",
    "transitions",
    "ratios",
    "occupancy",
    "dodges",
    "displacement",
    "premise",
    "claims",
]
FIGURES = [
    "headline",
    "persistence",
    "motives",
    "causal",
    "gating",
    "flow",
    "factorial",
    "reinforcement",
    "correction",
    "trust",
    "multiverse",
    "learning",
    "dodges",
]
TEMPLATE = files_fingerprint([REPOSITORY / "workflow" / "report" / "report.html.j2"], REPOSITORY)


rule aggregate:
    input:
        pretrained=every("<study>/pretrain/{cell}/{block}/organisms.parquet", "pretrain"),
        finetuned=every("<study>/finetune/{cell}/{block}/organisms.parquet", "finetune"),
        elicited=every("<study>/elicit/{cell}/{block}/organisms.parquet", "elicit"),
        measurements=every("<study>/classify/{cell}/{block}/measurements.parquet"),
        curves=every("<study>/classify/{cell}/{block}/curves.parquet"),
        causes=every("<study>/classify/{cell}/{block}/causes.parquet"),
        knowledge=every("<study>/classify/{cell}/{block}/knowledge.parquet"),
        reinforced=reinforced_files(),
        gating=every("<study>/gating_sums/{cell}/{block}.parquet", "finetune"),
        planted="<study>/planted/planted.parquet",
        discrimination="<study>/planted/discrimination.parquet",
        known="<study>/planted/known.parquet",
        planted_causes="<study>/planted/causes.parquet",
        defection="<study>/defection/defection.parquet",
    output:
        tables=expand("<study>/tables/{table}.parquet", table=TABLES),
        claims=report(
            "<study>/tables/claims.csv",
            caption="../report/claims.rst",
            category="Verdicts",
            labels={"what": "claims", "format": "table"},
        ),
    log:
        "<study>/logs/aggregate.log",
    benchmark:
        "<study>/benchmarks/aggregate.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
        gpu=0,
    params:
        config=CONFIGURATION,
        folder=lambda wildcards, output: Path(output.claims).parents[1],
        code=stage_code("aggregate"),
    shell:
        "python -m turncoat.stages.aggregate --config {params.config:q} --results {params.folder}"
        " --threads {threads} --code {params.code} > {log} 2>&1"


rule report:
    input:
        tables=rules.aggregate.output.tables,
        claims=rules.aggregate.output.claims,
    output:
        page=report(
            "<study>/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"what": "report", "format": "page"},
        ),
        vector=report(
            expand("<study>/figures/{figure}.svg", figure=FIGURES),
            caption="../report/figures.rst",
            category="Figures",
            labels=lambda wildcards, output: {"what": "figure", "format": "SVG"},
        ),
        pixels=expand("<study>/figures/{figure}.png", figure=FIGURES),
    log:
        "<study>/logs/report.log",
    benchmark:
        "<study>/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
        gpu=0,
    params:
        config=CONFIGURATION,
        folder=lambda wildcards, output: Path(output.page).parent,
        template=TEMPLATE,
        code=stage_code("report"),
    shell:
        "python -m turncoat.stages.report --config {params.config:q} --results {params.folder}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
