# Two commands: `make reproduce` and `make test`. Everything here only calls the tools in .venv.
#   make reproduce [PRESET=mini] [DATASET=synthetic] [SEEDS=1] [JOBS=] [DATA_ROOT=] [SPLIT=] [ROOT=.]
PRESET ?= mini
DATASET ?= synthetic
SEEDS ?= 1
JOBS ?=
DATA_ROOT ?=
SPLIT ?=
ROOT ?= .
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := efgan tests scripts benchmarks notebooks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce render test test-all e2e pictures lint format notebooks doctor lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## make .venv (done by every other target as needed)

# torch is constrained on every pip call: unconstrained, another build of it may be pulled in.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "efgan needs Python 3.11 or newer; choose one with: make PYTHON=python3.11 …" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (one or two minutes, 2 GB) ..."
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

reproduce: $(READY) ## train everything, make every table and figure, write the report
	@$(BIN)/efgan reproduce --root "$(ROOT)" --preset "$(PRESET)" --dataset "$(DATASET)" --seeds "$(SEEDS)" \
	  $(if $(JOBS),--jobs "$(JOBS)") $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(if $(SPLIT),--split "$(SPLIT)")

test: $(READY) ## the fast tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" -q

test-all: $(READY) ## all tests, the slow ones too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q

e2e: $(READY) ## use the interactive notebooks in a real browser (says what it needs)
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/browser_check.py $(if $(SLACK),--slack $(SLACK))

pictures: $(READY) ## make docs/editor.png and docs/editor.gif anew, in a real browser
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/browser_check.py --docs docs

lint: $(READY) ## style, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## mend style and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

notebooks: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir notebooks

doctor: $(READY) ## what this machine has and lacks
	@$(BIN)/efgan doctor

lock: $(READY) ## compile constraints.txt anew from pyproject.toml
	@{ echo '# Exact versions, for `pip install -c`. Written by `make lock`; edit pyproject.toml.'; \
	  $(BIN)/uv pip compile pyproject.toml --all-extras --universal --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --quiet; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean: ## remove .venv and tools' caches; results and figures stay
	rm -rf $(VENV) .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
