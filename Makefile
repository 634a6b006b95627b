# `make demo` and `make test` do everything: each sets up .venv first if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers-installed
# one thread per process: two ranks then share two cores, and sums are added in the same order on every machine
ONE_THREAD := OMP_NUM_THREADS=1
# the package is compiled once, as an installed one is, even where the environment forbids it: hundreds of processes
# import it in the tests, and the benchmarks compare it with installed packages
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast lint lint-style lint-types lint-imports docs bench gpu-check gpu-check-packing

help:
	@echo "make setup      create $(VENV) and install everything that development needs"
	@echo "make demo       run the worked example (or show its result if it has finished)"
	@echo "make test       run all tests"
	@echo "make test-fast  run the tests that are not marked slow"
	@echo "make lint       ruff, mypy, import contracts"
	@echo "make docs       build the user's guide into build/site"
	@echo "make bench      install the peers, run all benchmarks (hours) and write docs/results.md; make bench-NAME runs one"
	@echo "make gpu-check  check the toolkit on this machine's GPU, in at most 4 minutes (gpu-check/README.md)"
	@echo "make gpu-check-packing  check several trials on one GPU, meters and strategies, in at most 3 minutes"

setup: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/hwtune run configs/study/demo.yaml

# three tests at a time: most of them wait for processes rather than compute
test: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 3

test-fast: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow"

lint: lint-style lint-types lint-imports

lint-style: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(INSTALLED)
	$(BIN)/mypy

lint-imports: $(INSTALLED)
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m mkdocs build --strict --site-dir build/site

# does not need setup: it also runs on a bare machine with one GPU and no network
gpu-check:
	@gpu-check/run

gpu-check-packing:
	@gpu-check/run --packing

# the arguments of each benchmark; the order is that of the results page
BENCHMARKS := import_time reading serve importance decisions scale cluster replay_choose replay replay_fronts searchers deadline noise scaling rubberband allocation elastic pasha transfer prior_demo crash faults database fuzz hydra_sweep optuna_side_by_side overhead first_study
ARGUMENTS_replay := --rows build/replay
# a part of the script replay
SCRIPT_replay_fronts := replay
ARGUMENTS_replay_fronts := --fronts reporting --seeds 5 --rows build/replay_fronts
ARGUMENTS_searchers := --seeds 20 --rows build/searchers
ARGUMENTS_deadline := --half reporting
ARGUMENTS_noise := --seeds 60
ARGUMENTS_pasha := --rows build/pasha
ARGUMENTS_transfer := --rows build/transfer
ARGUMENTS_allocation := --rows build/allocation
ARGUMENTS_elastic := --seeds 2
ARGUMENTS_replay_choose := --rows build/replay_choose
ARGUMENTS_crash := --kills 20 --seed 0
ARGUMENTS_database := --faults 12 --seed 0
ARGUMENTS_fuzz := --seed 0
ARGUMENTS_hydra_sweep := --kills 5 --seed 0
ARGUMENTS_overhead := --peers
ARGUMENTS_first_study := --ray

bench: $(BENCHMARKS:%=bench-%)

bench-%: $(PEERS)
	@mkdir -p build benchmarks/results
	$(ONE_THREAD) $(BIN)/python benchmarks/$(or $(SCRIPT_$*),$*).py $(ARGUMENTS_$*) > build/$*.json
	@mv build/$*.json benchmarks/results/$*.json
	$(BIN)/python benchmarks/write_results.py

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V): Python 3.11 or newer is needed, e.g. make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

$(PEERS): $(INSTALLED) benchmarks/peers/neps.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]' -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/neps.txt
	@touch $@
