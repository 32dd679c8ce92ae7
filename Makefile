# Everything a developer does here. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
BENCH := $(VENV)/.bench-ready
ARGS ?=
PG ?= 18
# One more than the two cores that the suite is made for: while one test waits, another works.
JOBS ?= 3

# The first of these that is new enough; PYTHON=... overrides it.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(if $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print(1)' 2>/dev/null),$(name))))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Compiled once instead of at every start of a process, which takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: fuzz bench bench-soak bench-huge help setup run test test-karrio chaos check fmt docs clean

help:  ## list what can be made
	@echo "make <target>"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1#\2/p' $(MAKEFILE_LIST) \
		| while IFS='#' read -r name what; do printf '  %-11s %s\n' "$$name" "$$what"; done

setup: $(STAMP)  ## make .venv ready (does nothing when it is)

run: setup  ## run the demo (ARGS="--exit --port 8081 --data-dir D")
	@exec $(BIN)/batchyard demo $(ARGS)

test: setup  ## run all tests (PG=16|18, JOBS=3, ARGS="-k name")
	BATCHYARD_TEST_PG=$(PG) BATCHYARD_PG_VERSION=$(PG) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-karrio: setup  ## book through a real Karrio server, installed for this (minutes)
	$(BIN)/python -m tests.karrio_real

fuzz: setup  ## try to disprove the OpenAPI documents, five minutes each
	FUZZ_SECONDS=300 $(BIN)/python -m pytest --timeout 900 tests/api -k "schemathesis or document_says or keeps_its_document" $(ARGS)

chaos: setup  ## break a whole installation 200 times, then over each vendor's fake (ARGS="--kills N --items N --pace N --provider NAME")
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(BENCH)  ## measure everything, print one table (ARGS="--rows a,b --quick --json F --resume")
	@$(BIN)/python -m tools.bench $(ARGS)

bench-soak: $(BENCH)  ## twenty minutes of mixed load (ARGS="--soak-minutes N --json F")
	@$(BIN)/python -m tools.bench --rows soak $(ARGS)

bench-huge: setup  ## upload 5 GB by HTTP, measure every process (ARGS="--rows N --row-bytes N")
	$(BIN)/python -m tools.bench.huge $(ARGS)

check: setup  ## check format, lint, types, imports, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/write_docs.py --check

fmt: setup  ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## write the generated pages again
	$(BIN)/python tools/write_docs.py

clean:  ## remove .venv and everything made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Batchyard needs Python 3.11 or newer; none was found." \
		"Install it, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "Making $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv $(VENV); }
	@echo "Installing Batchyard and its tools; about a minute"
	@$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --editable '.[dev]'
	@# It asks for an older typer than ours, though only for colours.
	@$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --no-deps openapi-python-client
	@touch $@

$(BENCH): $(STAMP)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@
