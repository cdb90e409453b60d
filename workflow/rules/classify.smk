"""Classification: what each model's choices say it wants, as measurements; aggregate assigns the types.

In: weights under a neutral name. Out: one row per model and snapshot; what it does as a cue grows, what carries
its gap, and what its trunk knows, at its first and last snapshot; and the same for planted cases, whose truth is known.
"""

EVALUATION = canonical_json(CONFIG.evaluation.model_dump())
PLANTED = canonical_json(settings.planted(CONFIG))


rule classify:
    input:
        weights=trained_weights,
    output:
        measurements="<study>/classify/{cell}/{block}/measurements.parquet",
        curves="<study>/classify/{cell}/{block}/curves.parquet",
        causes="<study>/classify/{cell}/{block}/causes.parquet",
        knowledge="<study>/classify/{cell}/{block}/knowledge.parquet",
    log:
        "<study>/logs/classify/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/classify/{cell}/{block}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        settings=EVALUATION,
        code=stage_code("classify"),
    shell:
        "python -m turncoat.stages.classify --weights {input.weights} --label {wildcards.cell}"
        " --settings {params.settings:q} --output {output.measurements}"
        " --curves {output.curves} --causes {output.causes} --knowledge {output.knowledge}"
        " --threads {threads} --code {params.code} > {log} 2>&1"


rule classify_planted:
    output:
        cases="<study>/planted/planted.parquet",
        discrimination="<study>/planted/discrimination.parquet",
        known="<study>/planted/known.parquet",
        causes="<study>/planted/causes.parquet",
    log:
        "<study>/logs/planted/planted.log",
    benchmark:
        "<study>/benchmarks/planted/planted.tsv"
    priority: 2  # the longest job, and it waits for nothing
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        settings=PLANTED,
        code=stage_code("classify_planted"),
    shell:
        "python -m turncoat.stages.classify_planted --settings {params.settings:q}"
        " --output {output.cases} --discrimination {output.discrimination} --known {output.known} --causes {output.causes}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
