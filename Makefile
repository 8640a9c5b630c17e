# Everything a fresh checkout needs is set up by the first target that needs it, in .venv, and not again.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
PEERS := .venv-bench/.installed
COMING := .venv-release/.installed
OTHERS ?= python3.12 python3.13
PAPERS := $(notdir $(wildcard conf/experiment/*))

.DEFAULT_GOAL := help
.PHONY: help install test test-slow check lint layout types notes format smoke reproduce study docs bench bench-compare bench-gpu release clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(READY) ## Make .venv with l2l in it: .venv/bin/l2l

# torch first and pinned: a bare "torch" may bring gigabytes of GPU libraries that nothing here needs.
$(READY): pyproject.toml constraints.txt
	@echo "setting up .venv (once)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

reproduce: $(READY) ## Reproduce Hochreiter 2001 at its default scale (four to seven minutes on two cores)
	$(BIN)/l2l reproduce hochreiter2001

test: $(READY) ## Run the quick tests, on all cores
	$(BIN)/python -m pytest -n auto

test-slow: $(READY) ## Run the slow tests too
	$(BIN)/python -m pytest -m 'not gpu'

check: lint layout types ## Lint, formatting and types

lint: $(READY)
	$(BIN)/ruff check .

layout: $(READY)
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

notes: $(READY) ## See that every note of a deviation reaches a report
	$(BIN)/python -m pytest -m 'slow or not slow' tests/results/test_notes.py

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(READY) ## Every paper at smoke scale, into a temporary folder
	set -e; for paper in $(PAPERS); do $(BIN)/l2l reproduce $$paper --scale smoke --output $$(mktemp -d); done

study: $(READY) ## The study of one paper, PAPER=NAME, in hours; given again it goes on; then its page and README's tables
	$(BIN)/l2l reproduce $(PAPER) --scale study --output outputs/study/$(PAPER)
	$(BIN)/python -m tests.pages.study $(PAPER) outputs/study/$(PAPER)
	$(BIN)/python -m tests.pages

docs: $(READY) ## The pages, the API and the map from equations to code as one site, in outputs/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m tests.site outputs/site

bench: $(READY) $(PEERS) ## Timings in one table, beside other libraries, in outputs/bench: about ten minutes
	$(BIN)/python -m tests.bench $(if $(LEARNED_OPTIMIZATION),--learned-optimization "$(LEARNED_OPTIMIZATION)")

bench-compare: $(READY) ## What got slower since OLD=FILE of outputs/bench/history, by more than its spread
	$(BIN)/python -m tests.bench.compare "$(OLD)"

bench-gpu: $(READY) ## On a machine with a GPU: check its kernel there, then time it
	$(BIN)/python -m tests.bench.gpu

# One package at a time: where one cannot be installed, its row of the table says so and the others are timed.
$(PEERS): tests/bench/peers/requirements.txt constraints.txt
	@echo "setting up .venv-bench (once)"
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch numpy
	-grep '==' tests/bench/peers/requirements.txt | \
		xargs -n 1 .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
	@touch $@

release: $(COMING) ## Build the wheels; try them with Hydra to come, in empty environments, with the Pythons that there are
	rm -rf dist
	.venv-release/bin/python -m build --wheel --outdir dist
	.venv-release/bin/python -m build --wheel --outdir dist .github/plugin-template
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/l2l_cli-*.whl
	.venv-release/bin/python tests/release.py .venv-release/bin/l2l --wheels dist --pythons $(PYTHON) $(OTHERS)

$(COMING): pyproject.toml constraints.txt
	@echo "setting up .venv-release (once)"
	test -x .venv-release/bin/python || $(PYTHON) -m venv .venv-release
	grep -vE '^(hydra-core|omegaconf|antlr4-python3-runtime)==' constraints.txt > .venv-release/constraints.txt
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-release/constraints.txt torch
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-release/constraints.txt \
		. build 'hydra-core>=1.4.0rc3' 'omegaconf>=2.4.1rc1'
	@touch $@

clean: ## Remove the environments and all caches; outputs stay
	rm -rf .venv .venv-bench .venv-release .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
