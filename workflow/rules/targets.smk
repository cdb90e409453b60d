"""Parts of a study that can be asked for by name; the whole is `all`, in the Snakefile.

In: the plan; the files of a part are listed where it is asked for. Out: `models` (trained), `measurements` (of choices),
`ledgers` (of gating), `reinforcement`.
"""


rule models:
    input:
        lambda wildcards: every("<study>/pretrain/{cell}/{block}/organisms.parquet", "pretrain"),
        lambda wildcards: every("<study>/finetune/{cell}/{block}/organisms.parquet", "finetune"),
        lambda wildcards: every("<study>/elicit/{cell}/{block}/organisms.parquet", "elicit"),


rule measurements:
    input:
        lambda wildcards: every("<study>/classify/{cell}/{block}/measurements.parquet"),
        "<study>/planted/planted.parquet",


rule ledgers:
    input:
        lambda wildcards: every("<study>/gating/{cell}/{block}.parquet", "finetune"),


rule reinforcement:
    input:
        lambda wildcards: reinforced_files(),
