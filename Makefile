# Each target makes .venv and installs what it needs there first; a second call is quick.
#   PYTHON=python3.12     the Python to make .venv with (3.11 or newer)
#   PIP_ARGS="..."        more options for pip, such as another package index
#   ARGS="..."            more options for the command of the target: make test ARGS="-k solver"

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow torture lint format types docs bench plant check clean
export PYTHON PIP_ARGS

SETUP := sh .ci/setup
# Not .venv/bin/ornstein: a script's first line cannot name a folder with a space or a very long path.
PY := .venv/bin/python
ORNSTEIN := $(PY) -m ornstein

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

# The demo: its data, and how long it trains.
DEMO_DATA := digits
DEMO_MINUTES := 5

demo:  ## train on embedded pictures for a few minutes, then look at what the model makes
	@$(SETUP)
	@$(ORNSTEIN) train $(DEMO_DATA) --name demo --minutes $(DEMO_MINUTES)
	@$(ORNSTEIN) sample demo -n 64 --film

# Tests run in as many processes as there are cores, file by file.
WORKERS := -n auto --maxprocesses 4 --dist loadfile

test:  ## the fast tests
	@$(SETUP) test
	@$(PY) -m pytest $(WORKERS) $(ARGS)

test-slow:  ## all tests, the slow ones too
	@$(SETUP) test
	@$(PY) -m pytest $(WORKERS) -m "slow or not slow" $(ARGS)

torture:  ## kills, signals, power cuts and lost ranks, as often as docs/reliability.md says
	@$(SETUP) test
	@$(PY) tools/torture.py $(ARGS)

lint:  ## style and formatting
	@$(SETUP) lint
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format:  ## put the formatting right
	@$(SETUP) lint
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

types:  ## type check
	@$(SETUP) lint
	@$(PY) -m mypy

docs:  ## the documentation as web pages, in site/
	@$(SETUP) docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "docs: open site/index.html"

bench:  ## quality after ten minutes of training on this machine (see benchmarks/README.md)
	@$(SETUP) test
	@$(PY) -m benchmarks $(or $(ARGS),quality --minutes 10)

plant:  ## plant mistakes in the mathematics and see each one caught (slow)
	@$(SETUP) test
	@$(PY) tools/plant.py $(ARGS)

check: lint types test  ## lint, types and fast tests

clean:  ## remove .venv, caches and built pages; runs/ stays
	rm -rf .venv site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
