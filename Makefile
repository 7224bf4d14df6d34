# The commands of the project: `make help` lists them. Each makes .venv first if need
# be (scripts/setup.sh, scripts/install.py). PYTHON, VENV, TORCH, CLUSTER and MAX_JOBS
# are described there; ARGS goes to the command: make test ARGS="-k se3".
.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage lint format docs clean
VENV ?= .venv
RUN := $(VENV)/bin/python -m
PYTEST := $(RUN) pytest --numprocesses auto --dist loadfile
export VENV
# Threads that wait give way: with other work on the cores, small steps take many times
# longer else.
export OMP_WAIT_POLICY ?= PASSIVE

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1  /p' Makefile | awk '{printf "  make %-10s", $$2; $$1 = $$2 = ""; print}'

setup: ## make .venv; nothing to do when it is there
	@bash scripts/setup.sh

demo: setup ## train on molecules, then test errors and plots
	@$(VENV)/bin/python examples/demo.py $(ARGS)

test: setup ## run the tests, on all cores
	@$(PYTEST) $(ARGS)

coverage: setup ## run the tests and report what they cover
	@$(PYTEST) --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: setup ## check style and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

format: setup ## rewrite in the project's style
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

docs: setup ## build docs/_build/html; warnings are errors
	@$(RUN) sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## remove .venv and all that was built; keep compiled wheels
	rm -rf $(VENV) build dist docs/_build .coverage htmlcov *.egg-info
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find lieconv_pyg tests examples docs scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
