# Every target sets up what it needs: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 5000

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all chaos bench images reference docs check format ui clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make the virtual environment and install expkit

# constraints.txt holds the tested versions; pip reads it besides the ranges of pyproject.toml.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: setup ## Train, evaluate and log the default experiment
	$(PY) -m expkit $(ARGS)

# Files in their order: otherwise those with few but long tests come last, and one core waits.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup ## Run the tests, two files at a time; about ten minutes on two cores
	$(PYTEST) $(ARGS)

test-all: setup ## Run the slow tests as well: kills, Slurm, PostgreSQL, a server that is away
	$(PYTEST) -m 'not chaos' $(ARGS)

chaos: setup ## Run the long random tests: thousands of command lines and damaged files, kills at any moment
	OMP_NUM_THREADS=1 $(PY) -m pytest -m 'chaos or fuzz' --hypothesis-profile chaos --timeout 7200 $(ARGS)

bench: setup ## Compare expkit with ordinary scripts: ratios, a JSON file and a plot
	$(PY) -m benchmarks $(ARGS)

images: setup ## Take the pictures of the MLflow UI in docs/images, by Debian's Chromium
	$(PY) -m pytest tests/e2e/test_ui.py --screenshots docs/images $(ARGS)

reference: setup ## Write the schemas of conf, and the config reference in docs/reference.md
	$(PY) -m expkit.schema
	$(PY) -m benchmarks.reference

# A link that leads nowhere, in whatever page, is an error.
docs: setup ## Build the documentation as a site, in build/site
	$(VENV)/bin/zensical build --clean --strict

check: setup ## Lint, check the format and the types
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/ruff format --check src tests benchmarks
	$(VENV)/bin/mypy

format: setup ## Format the code
	$(VENV)/bin/ruff check --fix src tests benchmarks
	$(VENV)/bin/ruff format src tests benchmarks

ui: setup ## Open the MLflow UI on this project's runs, at http://127.0.0.1:5000 (or PORT=...)
	$(PY) -m expkit.ui --port $(PORT)

clean: ## Remove the virtual environment, caches and the site, but no outputs
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build/site
