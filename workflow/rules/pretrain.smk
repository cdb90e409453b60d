"""Pre-training: the starts that have an objective before fine-tuning.

In: the cell's settings and the block's seeds. Out: weights, the optimizer's state, one row per model, and its course.
"""


rule pretrain:
    output:
        weights="<study>/pretrain/{cell}/{block}/weights.safetensors",
        optimizer="<study>/pretrain/{cell}/{block}/optimizer.safetensors",
        organisms="<study>/pretrain/{cell}/{block}/organisms.parquet",
        trajectories="<study>/pretrain/{cell}/{block}/trajectories.parquet",
    log:
        "<study>/logs/pretrain/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/pretrain/{cell}/{block}.tsv"
    priority: 1  # training first: what compares models waits for all of it
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        settings=cell_settings,
        first=first_seed,
        seeds=seed_count,
        folder=training_folder,
        checkpoints=checkpoints,
        code=training_code("pretrain"),
    shell:
        "python -m turncoat.stages.pretrain --cell {wildcards.cell} --settings {params.settings:q}"
        " --first-seed {params.first} --seed-count {params.seeds} --output {params.folder}"
        " --checkpoints {params.checkpoints} --threads {threads} --code {params.code} > {log} 2>&1"
