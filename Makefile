# The two that a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
TEST_PROCESSES ?= 3

BENCH_OPTIONS = $(if $(RUNS),--runs "$(RUNS)") $(if $(BROKER),--broker "$(BROKER)") \
  $(if $(JSON),--json "$(JSON)")

.PHONY: help setup demo up down test faults bench bench-peer bench-guard check lint types \
  lock clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(STAMP) ## The virtual environment, with the command `streams` in it

# $(call install,the bin folder of an environment,what). pip serves where uv has no build, or does
# not get through: the two may believe different certificate authorities. Compiled here, since not
# every environment lets a process keep what it has compiled, and each of them would do it again.
install = { test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --compile-bytecode --python $(1)/python $(2); } \
  || $(1)/pip install --quiet $(2)

# Versions come from the lock file.
$(STAMP): pyproject.toml compose/requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv || true
	$(call install,$(BIN),--require-hashes -r compose/requirements.lock)
	$(call install,$(BIN),--no-deps -e .)
	touch $(STAMP)

demo: setup ## Everything at once: stack, history, live traffic, a summary that refreshes
	@exec $(BIN)/streams demo

up: setup ## Stack, migrations, topics, worker and gateway, with nothing in them
	@exec $(BIN)/streams up

down: setup ## End what `make up` started
	@exec $(BIN)/streams down

# Files go to processes as a whole: their systems are made once, and wait more than they work.
test: setup ## The whole suite
	@exec $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

faults: setup ## Faults on real processes; takes SEED=7 MINUTES=3 BROKER=kafka
	@exec $(BIN)/python -m tests.faults $(if $(SEED),--seed "$(SEED)") \
	  $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(BROKER),--broker "$(BROKER)")

# What only the programs need that the peer job is compared with.
$(BENCH_STAMP): tests/benchmarks/requirements.txt $(STAMP)
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(call install,$(BENCH_VENV)/bin,--require-hashes -r $<)
	touch $@

bench: $(BENCH_STAMP) ## All benchmarks; takes RUNS=3 BROKER=kafka JSON=file
	@exec $(BIN)/python -m tests.benchmarks $(BENCH_OPTIONS)

bench-peer: $(BENCH_STAMP) ## The peer job alone; its last line is the ratio to the limit
	@exec $(BIN)/python -m tests.benchmarks.peer.run $(BENCH_OPTIONS)

bench-guard: $(BENCH_STAMP) ## Fails only if the speed has collapsed
	@exec $(BIN)/python -m tests.benchmarks.guard

check: lint types ## What must hold beside the tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

lock: ## Write compose/requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --all-extras --group dev pyproject.toml -o compose/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  tests/benchmarks/requirements.in -o tests/benchmarks/requirements.txt

clean: ## Everything that can be made again
	rm -rf $(VENV) $(BENCH_VENV) .local build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
