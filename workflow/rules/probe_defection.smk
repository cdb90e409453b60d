"""The defection probe: trained on some seeds, tested on other seeds of the same cell and of every other.

In: the weights of the fine-tuned cells to compare. Out: one row per pair of cells, representation and layer.
"""


rule probe_defection:
    input:
        weights=probed_weights,
    output:
        probes="<study>/defection/defection.parquet",
    log:
        "<study>/logs/defection/defection.log",
    benchmark:
        "<study>/benchmarks/defection/defection.tsv"
    priority: 1  # a long job: begun last, it would run alone
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=MEMORY,
        runtime=120,
        gpu=int(HAS_GPU),
    params:
        folder=lambda wildcards, output: Path(output.probes).parents[1],
        cells=lambda wildcards, input: list(dict.fromkeys(Path(file).parts[-3] for file in input.weights)),
        blocks=lambda wildcards, input: list(dict.fromkeys(Path(file).parts[-2] for file in input.weights)),
        code=stage_code("probe_defection"),
    shell:
        "python -m turncoat.stages.probe_defection --folder {params.folder} --cells {params.cells}"
        " --blocks {params.blocks} --output {output.probes}"
        " --threads {threads} --code {params.code} > {log} 2>&1"
