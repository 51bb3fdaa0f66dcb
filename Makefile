# Everything a laptop or a CI machine needs. Python 3.11 and make are enough to start with.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-rejected up down test lint benchmark fuzz rehearse chaos lock schemas clean

# The first Python 3.11 on the path; make setup PYTHON=/path/to/python3.11 names another.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
    $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCKS := requirements.lock requirements-dev.lock
BEGAN := $(shell date +%s)
LAPTOP := $(BIN)/python -m local_cloud.laptop
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock"

# Trust the certificates that the system trusts, as pip does.
export UV_SYSTEM_CERTS := 1

# What the caller's shell has set for other projects must not reach this one.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV CONDA_PREFIX STORAGE_EMULATOR_HOST
unexport $(filter AIRFLOW_% GOOGLE_% GCLOUD_% CLOUDSDK_% GEMINI_TUNING_%,$(.VARIABLES))

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv with the locked packages and the command line, once
	@echo "Ready: $(BIN)/gemini-tuning --help"

demo: export PYTHONPATH := include
demo: $(INSTALLED) ## tune a model from end to end on this machine (ARGS="--dag-id tune_NAME" for another pipeline)
	@$(LAPTOP) demo $(ARGS)

demo-rejected: export PYTHONPATH := include
demo-rejected: $(INSTALLED) ## show how bad data is rejected before anything is paid for
	@$(LAPTOP) demo-rejected $(ARGS)

up: export PYTHONPATH := include
up: $(INSTALLED) ## start the local cloud and Airflow, and leave them running
	@$(LAPTOP) up

down: export PYTHONPATH := include
down: ## stop what `make up` started
	@if [ -x $(BIN)/python ]; then $(LAPTOP) down; else echo "Nothing was running."; fi

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, then every test but the rehearsals, with coverage
	$(BIN)/pytest -m "not rehearsal" -n 2 --dist loadfile --cov --cov-report=term

rehearse: $(INSTALLED) ## kill a whole Airflow's processes at every mark, break its requests, mark, clear and delete its runs
	$(BIN)/pytest -m rehearsal -n 2 --dist loadfile

benchmark: $(INSTALLED) ## measure the dataset check on 1,000,000 lines, the local Vertex AI with 500 jobs in its store, and 1,000 waits
	$(BIN)/python -m tests.benchmarks.validate
	$(BIN)/python -m tests.benchmarks.local_vertex $(ARGS)
	$(BIN)/python -m tests.benchmarks.waiting

fuzz: $(INSTALLED) ## throw damaged datasets at the check and the converter; ARGS="SECONDS SEED"
	$(BIN)/python -m tests.fuzz.dataset $(ARGS)

chaos: $(INSTALLED) ## break everything under 200 pipeline runs, then compare bills and results (20 min); ARGS="SEED RUNS"
	$(BIN)/python -m tests.chaos $(ARGS)

lock: $(BIN)/uv ## compile requirements*.txt into requirements*.lock
	$(COMPILE) requirements-data.txt requirements.txt --output-file requirements.lock
	$(COMPILE) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

schemas: $(INSTALLED) ## write the JSON Schemas that editors complete pipelines and suites from
	$(BIN)/python -m gemini_tuning.schemas

clean: ## back to a fresh clone; files of your own stay
	-@$(MAKE) --no-print-directory down
	rm -rf $(VENV) .local .ruff_cache .mypy_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov build plugins/*.egg-info
	find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/uv:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	    echo "Python 3.11 is needed, and '$(or $(PYTHON),python3.11)' is not it: install it, or name it by 'make setup PYTHON=/path/to/python3.11'." >&2; exit 1; fi
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# uv is five times as fast; pip may know a registry, from its own configuration, that uv doesn't.
$(INSTALLED): $(LOCKS) pyproject.toml | $(BIN)/uv
	@echo "Installing the locked packages (about 1.7 GB, once) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python $(LOCKS:%=-r %) || { echo "uv could not; trying pip ..."; $(BIN)/python -m pip install --quiet --disable-pip-version-check $(LOCKS:%=-r %); }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@echo "$(CURDIR)/include" > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/local_cloud.pth
	@touch $@
	@echo "Set up in $$(( $$(date +%s) - $(BEGAN) )) s."
