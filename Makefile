# `make` lists the targets. Everything installs itself into .venv; nothing else on the machine is touched.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The newest interpreter that really runs: a version manager's shim may exist and still refuse.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Sluice needs Python 3.11 or newer on PATH (or: make PYTHON=/path/to/python3.12)"; exit 1; }
	@echo "Installing into $(VENV) with $(PYTHON) (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(READY)

install: $(READY) ## create .venv with everything needed

demo: $(READY) ## five jobs from two users through the whole system, on this machine
	@$(BIN)/python -m local.demo $(ARGS)

dev: $(READY) ## the same stack, and stay: functions on 8000, store on 8079, provider on 8090
	@$(BIN)/python -m local.stack $(ARGS)

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

check: $(READY) ## what CI checks besides the tests: lint, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

mutants: $(READY) ## deliberate bugs, and the test that kills each
	@$(BIN)/python -m tests.mutants

soak: $(READY) ## ten minutes of real processes in trouble (ARGS="--seconds 60 --seed 1")
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(READY) ## the measurements the README quotes
	@$(BIN)/python -m bench.handlers $(ARGS)
	@$(BIN)/python -m bench.cold $(ARGS)
	@$(BIN)/python -m bench.fairness $(ARGS)
	@$(BIN)/python -m bench.claim_scale $(ARGS)
	@$(BIN)/python -m bench.copy $(ARGS)

setup-replicate: $(READY) ## check REPLICATE_API_TOKEN and fetch the account's webhook secret into .env
	@$(BIN)/python -m local.setup_replicate

schedule: $(READY) ## let QStash call the deployment every minute (ARGS=--delete ends it)
	@$(BIN)/python -m local.schedule_qstash $(ARGS)

clean: ## remove .venv and the local data
	@rm -rf $(VENV) .sluice

.PHONY: help install demo dev test check mutants soak bench setup-replicate schedule clean
