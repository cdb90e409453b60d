"""The ledger of gating: activation, gradient, real update, circuit and tangent kernel of every unit.

In: the weights and the optimizer's state of a fine-tuned cell, and its parent's where that was carried on. Out: one row
per model, snapshot (first and last), cue state, layer and unit, and their sums by circuit.
"""


rule probe_gating:
    input:
        unpack(carried_files),
        weights="<study>/finetune/{cell}/{block}/weights.safetensors",
        optimizer="<study>/finetune/{cell}/{block}/optimizer.safetensors",
    output:
        units="<study>/gating/{cell}/{block}.parquet",
        sums="<study>/gating_sums/{cell}/{block}.parquet",
    log:
        "<study>/logs/gating/{cell}/{block}.log",
    benchmark:
        "<study>/benchmarks/gating/{cell}/{block}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        parent=parent_option,
        settings=ledger_settings,
        code=stage_code("probe_gating"),
    shell:
        "python -m turncoat.stages.probe_gating --weights {input.weights} --optimizer {input.optimizer}"
        " --label {wildcards.cell} --settings {params.settings:q} --output {output.units}"
        " --sums {output.sums} {params.parent}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
