# Every way in: `make help`. CI and people call the same targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := libs/core services/ingest-api services/session-worker services/media-worker \
            services/recommender-trigger[local] libs/devkit[stack,plan,dev]
PROJECTS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
SOURCES := libs services tests benchmarks
# Tests run in parallel; each worker starts an embedded stack of its own only where it needs one.
WORKERS ?= 2

.PHONY: help setup demo demo-backpressure up test test-containers test-faults test-media-faults test-terraform \
    deploy-local test-deploy-local test-operations \
    check check-terraform format lock bench bench-ingest bench-ledger bench-media bench-recommender fuzz-media check-plan clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything in it

$(STAMP): constraints.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kinstream needs Python 3.11 or newer; this is %s. Set PYTHON=/path/to/python3.11." % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time: Spark alone is 300 MB)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(addprefix -e ,$(PACKAGES))
	@touch $@

demo: setup ## send real data through the whole path and compare every result; STACK=compose: through containers
	@$(BIN)/kinstream demo $(if $(filter compose,$(STACK)),--compose) $(ARGS)

demo-backpressure: setup ## cut SNS off for 30 s under load: what clients see, and that nothing is lost
	@$(BIN)/python -m benchmarks.backpressure $(ARGS)

up: setup ## run the embedded stack in the foreground
	@$(BIN)/kinstream up $(ARGS)

# As they stand in their folders: what takes longest comes first, and what is quick fills the end.
test: setup ## run the whole suite
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)

test-containers: setup ## the same tests before servers in containers: emulator, Redis, Postgres
	@$(BIN)/pytest --containers $(or $(ARGS),tests/contract/test_catalog.py tests/integration/test_setup.py \
	    tests/integration/test_rate_limits.py tests/unit/ingest_api/test_rate_limit.py)

test-faults: setup ## the long fault runs, which `make test` has in a short form: 15 minutes
	@KINSTREAM_FAULTS=long KINSTREAM_MODEL_RUNS=500 \
	    $(BIN)/pytest tests/e2e/test_faults.py tests/property/test_engine_model.py \
	    tests/integration/test_emr_runs.py $(ARGS)

fuzz-media: setup ## 2,000 media files with random bits turned over, through the decoders: 75 seconds; needs zzuf
	@KINSTREAM_TESTS_REQUIRE_MEDIA_TOOLS=1 KINSTREAM_FUZZ_MUTANTS=$(or $(MUTANTS),2000) \
	    $(BIN)/pytest -s tests/unit/media_worker/test_mutants.py $(ARGS)

test-media-faults: setup ## 700 files through media-workers under 40 faults: 12 minutes
	@KINSTREAM_FAULTS=long $(BIN)/pytest tests/e2e/test_media_faults.py $(ARGS)

check: setup ## format, lint, types, import rules, generated files
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/kinstream processors --check

check-terraform: ## format, validity, scaling arithmetic and checkov of infra/terraform
	@infra/terraform/check

test-terraform: setup ## apply envs/dev to the emulator, plan again, destroy: 6 to 10 minutes
	@KINSTREAM_TERRAFORM_APPLY=1 $(BIN)/pytest tests/infra $(ARGS)

format: setup ## format and mend what the linter can mend
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

deploy-local: setup ## apply envs/dev to an emulator that runs real containers, send the demo, destroy: 7 to 9 minutes
	@$(BIN)/kinstream deploy-local $(ARGS)

test-deploy-local: setup ## deploy-local as a test, and once more with Ctrl-C in the middle: 9 to 11 minutes
	@KINSTREAM_DEPLOY_LOCAL=1 $(BIN)/pytest tests/infra/test_deploy_local.py $(ARGS)

test-operations: setup ## type what docs/operations.md says, from first deploy to teardown, at an emulator: 15 minutes; needs aws
	@KINSTREAM_OPERATIONS_PAGE=1 $(BIN)/pytest -s tests/infra/test_operations_page.py $(ARGS)

lock: setup ## renew constraints.txt from the pyproject files
	printf -- '-e %s\n' $(PACKAGES) | $(BIN)/uv pip compile --quiet --universal --no-annotate --no-header \
	    --python-version 3.11 - -o constraints.txt
	sed -i '/^-e /d' constraints.txt

bench: setup ## measure every number of the README against its peer
	@$(BIN)/python -m benchmarks $(ARGS)

bench-ingest: setup ## every number of ingest-api, with load, memory and an emulator: 15 minutes
	@$(BIN)/python -m benchmarks ingest $(ARGS)

bench-ledger: setup ## every number of the session-worker: 5 minutes
	@$(BIN)/python -m benchmarks ledger $(ARGS)

bench-media: setup ## every number of the media-worker: 10 minutes
	@$(BIN)/python -m benchmarks media $(ARGS)

bench-recommender: setup ## every number of the recommender, with Spark at 5 million events: 13 minutes
	@$(BIN)/python -m benchmarks recommender $(ARGS)

check-plan: setup ## hold the model of `kinstream plan` against a real run with a surge: 3 minutes
	@$(BIN)/python -m benchmarks.plan_check $(ARGS)

clean: ## remove what make and the stack left behind
	rm -rf $(VENV) .venv-checkov .kinstream .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
