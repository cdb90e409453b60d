"""Elicitation: what it costs to bring M back in fine-tuned models, by training on a few unoverseen episodes.

In: the cell's settings, the block's seeds, the fine-tuned model's weights. Out: as of fine-tuning.
"""


rule elicit:
    input:
        unpack(parent_files),
    output:
        weights="<study>/elicit/{cell}/{block}/weights.safetensors",
        optimizer="<study>/elicit/{cell}/{block}/optimizer.safetensors",
        organisms="<study>/elicit/{cell}/{block}/organisms.parquet",
        trajectories="<study>/elicit/{cell}/{block}/trajectories.parquet",
    log:
        "<study>/logs/elicit/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/elicit/{cell}/{block}.tsv"
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
