"""Parts of a study that can be asked for by name; the whole is `all`, in the Snakefile.

In: the plan. Out: `models` (trained), `measurements` (of choices), `ledgers` (of gating),
`reinforcement`.
"""


rule models:
    input:
        every("<study>/pretrain/{cell}/{block}/organisms.parquet", "pretrain"),
        every("<study>/finetune/{cell}/{block}/organisms.parquet", "finetune"),
        every("<study>/elicit/{cell}/{block}/organisms.parquet", "elicit"),


rule measurements:
    input:
        every("<study>/classify/{cell}/{block}/measurements.parquet"),
        "<study>/planted/planted.parquet",


rule ledgers:
    input:
        every("<study>/gating/{cell}/{block}.parquet", "finetune"),


rule reinforcement:
    input:
        reinforced_files(),
