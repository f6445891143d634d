# Two commands: `make results` and `make test`. Each sets up .venv first (once), from the hashed locks in envs/.
#   make results STUDY=paper DATA=/path/to/data CORES=8

STUDY ?= miniature
DATA ?=
CORES ?= all
# More options for pytest: make test ARGS="-k config"
ARGS ?=

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup results reference readme docs test test-fast drill lint lint-python lint-snakemake types schema lock clean

# The recipes read these from the environment, so that no value is parsed by make or the shell on its way.
export UTOPIA_MAKE_STUDY := $(value STUDY)
export UTOPIA_MAKE_DATA := $(value DATA)
export UTOPIA_MAKE_CORES := $(value CORES)
unexport STUDY DATA CORES ARGS PYTHONHOME PYTHONPATH
# Thousands of processes start in a study and in the tests: without kept bytecode each takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: ## make or update .venv (the targets below do it themselves)
	@envs/setup.sh

results: setup ## all tables and figures of a study: STUDY=miniature DATA= CORES=all
	@.venv/bin/utopia run --study "$$UTOPIA_MAKE_STUDY" --cores "$$UTOPIA_MAKE_CORES" $${UTOPIA_MAKE_DATA:+--data "$$UTOPIA_MAKE_DATA"}

reference: setup ## keep a finished study's tables, figures and records in results/reference: STUDY=miniature DATA=
	@.venv/bin/utopia keep --study "$$UTOPIA_MAKE_STUDY" $${UTOPIA_MAKE_DATA:+--data "$$UTOPIA_MAKE_DATA"}

readme: setup ## the table and pictures of README.md, from results/reference and the page of results/miniature (Chromium)
	@.venv/bin/python docs/readme.py

docs: setup ## the documentation as a site with search: _site/index.html
	@.venv/bin/python -m sphinx -q -W --keep-going -b html -c docs . _site

# In the order of testpaths (pyproject.toml): pytest-xdist would leave the files with few and long tests to the end.
test: setup ## all tests (ARGS: more options for pytest)
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: setup ## the tests that start no process: minutes less
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile -m "not processes and not long" tests/unit tests/contract $(ARGS)

drill: setup ## every fault of a cluster, tried on a real SLURM of our own (root on Debian; ARGS: names of faults)
	@.venv/bin/python tests/slurm/drill.py $(ARGS)

gpu-check: setup ## everything that a GPU must do, in eight minutes (without one: ARGS="--device cpu --tiny")
	@.venv/bin/python benchmarks/gpu.py --out results/gpu-check.jsonl --keep $(ARGS)

lint: lint-python lint-snakemake types schema ## every check that runs nothing

lint-python: setup ## ruff: faults and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

lint-snakemake: setup ## snakefmt and snakemake --lint
	@.venv/bin/snakefmt --check Snakefile workflow
	@.venv/bin/python .ci/lint_workflow.py

types: setup ## mypy
	@.venv/bin/mypy

schema: setup ## whether the JSON schemas and the pages of settings are what the models say
	@.venv/bin/python -m utopia.config.schema --check

lock: setup ## resolve envs/*.in into the hashed locks, for every platform
	cd envs && for name in bootstrap requirements; do \
	  ../.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header "$$name.in" -o "$$name.txt" || exit 1; done

clean: ## remove the miniature's results and the tools' caches; .venv and other studies stay
	rm -rf results/miniature _site .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find workflow tests -name __pycache__ -type d -prune -exec rm -rf {} +
