PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help install hooks quickstart check test proofs lint phone clean

# Tests start many processes: what Python has compiled is kept for the next one.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## create .venv with everything the project uses

# The CPU build of torch is preferred to the GPU one wherever an index of pip has it.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

quickstart: $(STAMP) ## profile this PC, search, train, export: at most 10 minutes
	$(BIN)/mnasfpn quickstart

check: lint ## while you work: ruff, mypy and the tests of a second or less; a minute or so
	$(PYTEST) -m "not (slow or phone or proof)"

test: lint ## before you hand in: ruff, mypy and all tests but proofs; some minutes
	$(PYTEST) -m "not proof"

proofs: $(STAMP) ## before a release: whole jobs, as long as they take
	$(PYTEST) -m proof

lint: $(STAMP) ## ruff and mypy alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/types && ln -sfn ../.. $(VENV)/types/mnasfpn
	cd $(VENV)/types && ../bin/mypy --config-file ../../pyproject.toml -p mnasfpn

hooks: $(STAMP) ## ruff and mypy at every commit
	$(BIN)/pre-commit install

CPU ?= cortex-a76
phone: $(STAMP) ## start a virtual ARM phone (CPU=cortex-a76 or cortex-a53) behind a real adbd
	$(BIN)/python tests/android_harness/phone/virtual_phone.py --cpu $(CPU)

clean: ## remove what was built, not the measurements
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache
