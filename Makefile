# The commands behind these targets are in the README, for machines without make.
#
#   make run                                  the default study, from nothing to results/default/report.html
#   make run STUDY=workflow/studies/mine.yaml another study
#   make smoke                                every stage on tiny models
#   make bench                                training beside PyTorch and JAX, stages and planning: a table each
#   make time-to-verdict                      what a finished study says of the time until P3 is known to 0.01
#   make selftest                             the statistics, on simulated studies of known truth (docs/statistics.md)
#   make bench-aggregate                      time and memory of the aggregate stage on a large synthetic study
#   make cluster-test                         the workflow on a real Slurm, which it installs (Debian, as root)
#   make compare STUDIES="results/a results/b"  studies side by side, as compare.html
#   make browser-test                         the report in a real Chromium (skips nothing)
#   make kernel-test                          the GPU's kernels in Triton's interpreter, without a GPU (skips nothing)
#   make chaos                                kills the smoke study twenty times; a folder under /tmp, about an hour
#   make test | lint | check-env | clean-env

CORES ?= all
STUDY ?=
STUDY_DIR ?= results/default
BENCH ?=
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/installed
# No more jobs at once than free memory and GPUs allow.
MACHINE = $$($(PYTHON) -m turncoat.configuration.machine)
SNAKEMAKE = $(VENV)/bin/snakemake --cores $(CORES) --resources $(MACHINE)

.DEFAULT_GOAL := run
.PHONY: run smoke compare test bench bench-aggregate time-to-verdict selftest browser-test kernel-test chaos
.PHONY: cluster-test lint check-env clean-env

run: $(STAMP)
	@$(if $(STUDY),PYTHONPATH=workflow $(PYTHON) -m turncoat.configuration.check $(STUDY) > /dev/null)
	$(SNAKEMAKE) $(if $(STUDY),--configfile $(STUDY))

smoke: $(STAMP)
	$(SNAKEMAKE) --configfile workflow/studies/smoke.yaml

STUDIES ?=

compare: $(STAMP)
	PYTHONPATH=workflow $(PYTHON) -m turncoat.compare $(STUDIES) --output compare.html

# A file of tests to a core, in the order of tests/conftest.py; plain pytest runs one after the other.
test: $(STAMP)
	$(PYTHON) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Fails, and skips nothing, where there is no Chromium (Debian: apt-get install chromium).
browser-test: $(STAMP)
	$(PYTHON) -m pip install --quiet --editable '.[test,browser]' --constraint envs/constraints.txt
	TURNCOAT_BROWSER_REQUIRED=1 $(PYTHON) -m pytest -m browser tests/browser

# Fails where there is no Triton, which is had for Linux.
kernel-test: $(STAMP)
	$(PYTHON) -m pip install --quiet --editable '.[test,kernels]' --constraint envs/constraints.txt
	TURNCOAT_KERNELS_REQUIRED=1 $(PYTHON) -m pytest tests/unit/test_relu_kernels.py

# Kill -9 at INSTANTS random instants, each followed by a rerun; EACH of them in one run of the study.
INSTANTS ?= 20
EACH ?= 1
chaos: $(STAMP)
	folder=$$(mktemp -d) && $(PYTHON) tests/workflow/chaos.py --instants $(INSTANTS) --each $(EACH) --folder $$folder/chaos \
	--markdown $$folder/chaos.md && echo "the table: $$folder/chaos.md"

# One thread; some 30 minutes on an idle core, BENCH=--quick a few. On a GPU: python -m benchmarks.gpu --out FOLDER.
bench: $(STAMP)
	$(PYTHON) -m pip install --quiet --editable '.[test,jax]' --constraint envs/constraints.txt
	$(PYTHON) -m benchmarks $(BENCH)

time-to-verdict: $(STAMP)
	$(PYTHON) -m benchmarks.study $(STUDY_DIR)
	$(PYTHON) -m benchmarks.verdict $(STUDY_DIR) --write docs/performance.md

selftest: $(STAMP)
	$(PYTHON) -m turncoat.statistics.selftest --table docs/selftest.parquet --document docs/statistics.md

bench-aggregate: $(STAMP)
	$(PYTHON) benchmarks/aggregate.py

# Fails, and skips nothing, where Slurm cannot be had. Two processes, each with a Slurm and a file of tests of its own.
cluster-test: $(STAMP)
	tests/cluster/install-slurm
	$(PYTHON) -m pip install --quiet --editable '.[test,slurm]' --constraint envs/constraints.txt
	$(PYTHON) -m pytest -m cluster -rP --durations 0 --durations-min 1 --numprocesses 2 --dist loadfile tests/cluster

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/mypy

# Installed once; again when a version changes. .venv's own pip installs, so that the user's pip configuration
# (index, find-links) decides which build of torch comes; uv, where present, only makes the environment.
$(STAMP): pyproject.toml envs/constraints.txt envs/make-venv
	envs/make-venv $(VENV)
	$(PYTHON) -m pip install --quiet --editable '.[test]' --constraint envs/constraints.txt
	@touch $@

check-env: $(STAMP)
	$(PYTHON) -m pip check
	$(PYTHON) -c "import torch, snakemake; print('torch', torch.__version__, 'snakemake', snakemake.__version__)"

clean-env:
	rm -rf $(VENV)
