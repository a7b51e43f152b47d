# One door for people and for CI. Setting up is a prerequisite with a stamp: the first target that needs the
# environment builds it, later ones start at once.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo flows notebooks test soak lint types bench yardsticks profiles lock image-test clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP)  ## create .venv and install the locked packages (PYTHON=python3.12 chooses the interpreter)

$(STAMP): requirements-dev.lock pyproject.toml Makefile
	@sh scripts/setup.sh "$(PYTHON)" "$(VENV)" "$(UV_VERSION)" requirements-dev.lock
	@touch $@

demo: $(STAMP)  ## ingest the sample vault through a real Prefect flow and search it
	@$(BIN)/python -m flows.demo

flows: $(STAMP)  ## start the services, run every flow on the sample vault, show the runs, stop
	@$(BIN)/python -m flows.tour

notebooks: $(STAMP)  ## run every notebook on the sample vault: CPU seconds, memory and the page of each
	@$(BIN)/python -m benchmarks.notebooks

# Files side by side: on two cores three of them, since much of it is waiting. Each file alone and in order, since tests of
# a file may share a server.
test: $(STAMP)  ## every promise once, with a small N
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# MINUTES=60: the whole service under load and faults for so long (SEED=, to do one again; ARGS=).
soak: $(STAMP)  ## the tests with the N that the promises were measured with; with MINUTES=60 the whole service under faults
ifdef MINUTES
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)
else
	@NESCORD_SOAK=1 $(BIN)/python -m pytest -q -s --timeout=7200
endif

lint: $(STAMP)  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy, strict
	@$(BIN)/mypy

# ARGS="--vault DIR" compares on notes of one's own, which are copied and never written to; about an hour.
bench: $(STAMP)  ## the same work by the tools that people would use instead, each in an environment of its own (ARGS=…)
	@$(BIN)/python -m benchmarks.peers $(ARGS)

yardsticks: $(STAMP)  ## speed beside the bare thing, in CPU seconds of one run
	@$(BIN)/python -m benchmarks.run

profiles: $(STAMP)  ## where time and memory go: ingest, search, bot, start, a night
	@$(BIN)/python -m benchmarks.profiles $(ARGS)

lock: $(STAMP)  ## resolve the dependencies anew into the lock files
	@sh scripts/lock.sh "$(BIN)/uv"

image-test: $(STAMP)  ## build the container image, run it twice on one volume, measure (Docker, or root and podman)
	@$(BIN)/python scripts/image_test.py

clean:  ## remove the environment, caches and the data of demo, flows, notebooks and peers (never data/state)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache data/demo data/tour data/notebooks data/peers
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
