"""Fine-tuning towards X, from a pre-trained model or from scratch.

In: the cell's settings, the block's seeds, the parent's weights where the start was pre-trained.
Out: weights at every snapshot, the optimizer's state, one row per model, and its course.
"""


rule finetune:
    input:
        unpack(parent_files),
    output:
        weights="<study>/finetune/{cell}/{block}/weights.safetensors",
        optimizer="<study>/finetune/{cell}/{block}/optimizer.safetensors",
        organisms="<study>/finetune/{cell}/{block}/organisms.parquet",
        trajectories="<study>/finetune/{cell}/{block}/trajectories.parquet",
    log:
        "<study>/logs/finetune/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/finetune/{cell}/{block}.tsv"
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
        parent=parent_option,
        folder=training_folder,
        checkpoints=checkpoints,
        code=training_code("finetune"),
    shell:
        "python -m turncoat.stages.finetune --cell {wildcards.cell} --settings {params.settings:q}"
        " --first-seed {params.first} --seed-count {params.seeds} {params.parent} --output {params.folder}"
        " --checkpoints {params.checkpoints} --threads {threads} --code {params.code} > {log} 2>&1"
