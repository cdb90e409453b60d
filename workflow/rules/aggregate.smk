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
    "verdicts",
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
TEMPLATES = files_fingerprint(
    [
        path
        for path in (REPOSITORY / "workflow" / "report").rglob("*")
        if path.suffix in {".j2", ".css", ".js"}
    ],
    REPOSITORY,
)
FIGURE_LABELS = {  # what `snakemake --report` lists figures as
    "verdicts": ("Verdicts", "every claim, in margins"),
    "headline": ("Deception", "C and D at equal capability"),
    "persistence": ("Deception", "what fine-tuning leaves"),
    "motives": ("Deception", "compliance by price and cue"),
    "multiverse": ("Deception", "the headline over all cutoffs"),
    "causal": ("Deception", "what carries the gap inside"),
    "learning": ("Deception", "how fast X is learnt"),
    "dodges": ("Deception", "what dodges do"),
    "gating": ("Gating", "activation, gradient and update"),
    "flow": ("Gating", "where gradient goes"),
    "factorial": ("Gating", "activation by optimizer"),
    "reinforcement": ("Gating", "same answer, different motive"),
    "correction": ("Gating", "what the gate protects"),
    "trust": ("Planted truth", "can the classifier be trusted"),
}


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
        vector=[
            report(
                f"<study>/figures/{name}.svg",
                caption=f"../report/figures/{name}.rst",
                category="Figures",
                subcategory=FIGURE_LABELS[name][0],
                labels={"what": FIGURE_LABELS[name][1], "format": "SVG"},
            )
            for name in FIGURES
        ],
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
        template=TEMPLATES,
        code=stage_code("report"),
    shell:
        "python -m turncoat.stages.report --config {params.config:q} --results {params.folder}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
