# One word for each job. Every target makes .venv and installs what it needs by itself, once; a change of
# pyproject.toml or constraints.txt installs again.
#
#     make demo    train a GAN that collapses on real digits, and see what gandiag says of it
#     make test    all checks: style, types, layers, tests, and the built wheel
#
# On Linux plain `pip install torch` brings several gigabytes of CUDA libraries; point PIP_EXTRA_INDEX_URL at the CPU
# builds that PyTorch publishes to avoid them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers tests wheel bench docs clean
unexport PYTHONPATH PYTHONHOME

PYTHON  ?= python3
WORKERS ?= 2
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
TORCH   := $(shell grep '^torch==' constraints.txt)

help:
	@sed -n 's/^#     //p' Makefile

demo: $(VENV)/.ready-to-run
	$(BIN)/gandiag demo digits
	@echo; echo 'To type gandiag in this shell: source $(BIN)/activate'

# The checks share few cores: one thread a process, $(WORKERS) processes.
test lint types layers tests wheel bench docs: export OMP_NUM_THREADS = 1

test: lint types layers tests wheel

lint: $(VENV)/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-to-test
	$(BIN)/mypy

layers: $(VENV)/.ready-to-test
	$(BIN)/lint-imports

tests: $(VENV)/.ready-to-test
	$(BIN)/pytest -q -n $(WORKERS)

wheel: $(VENV)/.ready-to-test
	bash tests/wheel.sh

# The figures of docs/benchmarks.md; takes hours, so nothing else depends on it.
bench: $(VENV)/.ready-to-test
	$(BIN)/python tests/benchmarks/run.py
	$(BIN)/python tests/benchmarks/overhead.py
	$(BIN)/python tests/benchmarks/identity.py
	$(BIN)/python tests/benchmarks/crash.py
	$(BIN)/python tests/benchmarks/size.py
	$(BIN)/python tests/benchmarks/embedders.py
	for what in speed memory large equality; do $(BIN)/python tests/benchmarks/metrics.py $$what; done
	for what in alarms power; do $(BIN)/python tests/benchmarks/alarms.py $$what; done

# The docs are Markdown and read as they are: this runs their code and follows their links.
docs: $(VENV)/.ready-to-test
	$(BIN)/pytest -q -p no:randomly tests/contracts/test_docs.py tests/test_tutorial.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"gandiag needs Python 3.11 or newer, found {sys.version.split()[0]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# torch comes first and by its exact pin, so that pip settles on the CPU build where one is offered; asked for
# together with everything else, it fetches gigabytes of CUDA libraries.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "installing $(TORCH): about 200 MB, a minute or two"
	$(PIP) $(TORCH)
	touch $@

$(VENV)/.ready-to-run: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) --editable .
	touch $@

$(VENV)/.ready-to-test: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.ready-to-run
