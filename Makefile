PYTHON ?= python3
ENV_PYTHON := .venv/bin/python
SETUP = $(PYTHON) tools/setup_env.py $(addprefix --ops ,$(OPS)) $(addprefix --torch ,$(TORCH))

.PHONY: help install install-dev test test-fast lint format quickstart docs docs-links clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

install: ## set up .venv with the tested versions: 2 minutes and the download of torch; OPS=compiled for mmcv's own ops
	@$(SETUP)

install-dev: ## the same with what tests, style checks and docs need
	@$(SETUP) --level dev

test: install-dev ## run all tests; ARGS="..." goes to pytest
	$(ENV_PYTHON) -m pytest -n auto --dist loadfile $(ARGS)

test-fast: install-dev ## run the tests that are not marked slow
	$(ENV_PYTHON) -m pytest -n auto --dist loadfile -m 'not slow' $(ARGS)

lint: install-dev ## check style, without changing anything
	$(ENV_PYTHON) -m ruff check
	$(ENV_PYTHON) -m ruff format --check

format: install-dev ## put the code into the house's style
	$(ENV_PYTHON) -m ruff check --fix
	$(ENV_PYTHON) -m ruff format

quickstart: install ## train on real images and compare on the rare classes: 5 minutes after the set-up
	$(ENV_PYTHON) tools/quickstart.py

docs: install-dev ## write the site to build/docs; every warning, such as a dead link between pages, is an error
	$(ENV_PYTHON) -m sphinx -W --keep-going -q -b html docs build/docs

docs-links: install-dev ## look up the links from the site to other hosts; says what is dead, fails nothing
	-$(ENV_PYTHON) -m sphinx -q -b linkcheck docs build/links

clean: ## remove .venv and what tools left here; the cache of compiled ops stays
	rm -rf .venv build dist *.egg-info ltmm/.mim .pytest_cache .ruff_cache
	find ltmm tools tests -name __pycache__ -prune -exec rm -rf {} +
