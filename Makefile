# One word per chore, the same here and in CI. `make demo` and `make test` need Python 3.11 and make, nothing else.
PYTHON   ?= python3
VENV     ?= .venv
BIN      := $(VENV)/bin
EXTRAS   ?= cpu,dev
DURATION ?= 90
ARGS     ?=

.PHONY: help setup demo test check bench clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(VENV)/.ready   ## a virtual environment with everything the extras name

$(VENV)/.ready: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
	  { $(PYTHON) -m pip install --quiet --user --break-system-packages virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV); }
	@echo "installing leeway[$(EXTRAS)] into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup      ## cameras, broker, daemon, drift and repair for DURATION seconds, then a report
	$(BIN)/leeway demo --duration $(DURATION) $(ARGS)

test: setup      ## the whole test suite
	$(BIN)/python -m pytest $(ARGS)

check: setup     ## format, lint, types, architecture: seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy edge drift porting devices cli
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_docs.py

bench: setup     ## speed and memory, as ratios in one run; tables and JSON under runs/bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:           ## what the chores made
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
