"""Same answer, different motive: networks trained on episodes on which X and M want the same option.

In: a fine-tuned cell's weights, or seeds of planted two-block networks. Out: one row per network and arm.
"""

REINFORCEMENT = canonical_json(settings.reinforcement(CONFIG))


rule reinforce_planted:
    output:
        rows="<study>/reinforce/planted/{block}.parquet",
    log:
        "<study>/logs/reinforce/planted/{block}.log",
    benchmark:
        "<study>/benchmarks/reinforce/planted/{block}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        settings=REINFORCEMENT,
        first=first_seed,
        seeds=seed_count,
        code=stage_code("reinforce"),
    shell:
        "python -m turncoat.stages.reinforce --settings {params.settings:q}"
        " --first-seed {params.first} --seed-count {params.seeds} --output {output.rows}"
        " --threads {threads} --code {params.code} > {log} 2>&1"


rule reinforce:
    input:
        weights="<study>/finetune/{cell}/{block}/weights.safetensors",
    output:
        rows="<study>/reinforce/{cell}/{block}.parquet",
    log:
        "<study>/logs/reinforce/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/reinforce/{cell}/{block}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        settings=REINFORCEMENT,
        code=stage_code("reinforce"),
    shell:
        "python -m turncoat.stages.reinforce --settings {params.settings:q} --weights {input.weights}"
        " --label {wildcards.cell} --output {output.rows}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
