# MindWeave. `make help` lists what there is.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test bench lint fmt lock pictures clean venv venv-dev

# The newest Python that is 3.11 or more; PYTHON=… names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; exit; }; done; echo python3)
BIN := .venv/bin
ARGS ?=
DEMO ?= 1
export DEMO

help: ## this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo '  ARGS=… is passed on: make run ARGS=--json, make test ARGS="tests/usage -x".'
	@echo '  make run DEMO=0 starts empty. MINDWEAVE_PORT, MINDWEAVE_HOST and MINDWEAVE_DATA_DIR: docs/configuration.md.'

run: venv ## start everything behind http://localhost:8000, with demo data; Ctrl-C ends it
	@exec $(BIN)/python manage.py up $(ARGS)

test: venv-dev ## the whole suite, each process with its own PostgreSQL and Redis
	@exec $(BIN)/python -m pytest $(or $(ARGS),-n logical --maxprocesses=4 --dist loadgroup)

bench: venv-dev ## measure this machine; the figures of ours are in docs/benchmarks.md
	@exec $(BIN)/python -m benchmarks.run $(ARGS)

lint: venv-dev ## ruff, mypy, import-linter, djhtml, migrations, OpenAPI and event snapshots
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec sh deploy/lint.sh

fmt: venv-dev ## format Python and templates
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .
	@find templates -name '*.html' -not -path 'templates/snippets/*' -print0 | xargs -0 $(BIN)/djhtml --tabwidth 2 2>/dev/null || true

lock: venv-dev ## pin requirements*.in into requirements*.txt, every file by hash
	@for f in requirements requirements-dev deploy/uv; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $$f.in -o $$f.txt || exit 1; done

pictures: venv-dev ## take the guide's pictures anew; ARGS names some
	@exec $(BIN)/python -m tests.browser.pictures $(ARGS)

clean: ## remove .venv, caches and the data under var/
	@rm -rf .venv var .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo 'MindWeave needs Python 3.11 or newer; none was found.' >&2; exit 1; }
	@$(PYTHON) apps/core/dev/venv.py requirements.txt

venv-dev:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo 'MindWeave needs Python 3.11 or newer; none was found.' >&2; exit 1; }
	@$(PYTHON) apps/core/dev/venv.py requirements-dev.txt
