"""The ledger of gating: activation, gradient and real update of every unit.

In: the weights and the optimizer's state of a fine-tuned cell. Out: one row per model, cue state, layer and unit.
"""


rule probe_gating:
    input:
        weights="<study>/finetune/{cell}/{block}/weights.safetensors",
        optimizer="<study>/finetune/{cell}/{block}/optimizer.safetensors",
    output:
        units="<study>/gating/{cell}/{block}.parquet",
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
        settings=ledger_settings,
        code=stage_fingerprint("probe_gating"),
    shell:
        "python -m turncoat.stages.probe_gating --weights {input.weights} --optimizer {input.optimizer}"
        " --label {wildcards.cell} --settings {params.settings:q} --output {output.units}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
