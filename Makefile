# make run and make test do all the set-up that they need; the second time they start at once.
.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
TEMPLATES = $(shell find templates -name '*.html')
PYTEST = $(PYTHON) -m pytest -q -n auto --maxprocesses 4
# A check must not make a data directory in the checkout.
lint test: export SWARM_DATA_DIR = $(CURDIR)/.make/data

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

.venv/installed-%: requirements/%.txt
	@deploy/setup.sh $*

setup: .venv/installed-dev ## the virtual environment with everything pinned (run and test call it)

run: .venv/installed-base ## everything on this machine, with a demo; PORT=8000
	@deploy/setup.sh missing base
	@exec $(PYTHON) manage.py up --demo $(if $(PORT),--port $(PORT))

test: lint ## all checks and the whole test suite
	@deploy/setup.sh missing dev
	@echo "The stages on PostgreSQL:"
	@TEST_DATABASE=postgresql $(PYTEST) -m "not any_database" tests/stages
	@echo "Everything on SQLite:"
	@$(PYTEST)

lint: .venv/installed-dev ## the part of the checks that runs nothing
	@mkdir -p .make
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m ruff format --quiet --check . || { echo "Format it: .venv/bin/ruff format ."; exit 1; }
	@.venv/bin/djade --target-version 5.2 --check $(TEMPLATES)
	@.venv/bin/djlint --lint --quiet templates
	@.venv/bin/lint-imports --no-logo --cache-dir .make/imports >.make/lint-imports || { cat .make/lint-imports; exit 1; }
	@$(PYTHON) -m mypy --no-error-summary
	@echo "Code, types and templates are in order."

bench: .venv/installed-base ## one measurement: NAME=merge
	@$(PYTHON) manage.py bench $(NAME)
