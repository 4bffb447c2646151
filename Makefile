# One word per chore, the same here and in CI. `make demo` and `make test` need Python 3.11 or newer, pip and make, nothing else.
PYTHON   ?= python3
VENV     ?= .venv
BIN      := $(VENV)/bin
EXTRAS   ?= cpu,dev
DURATION ?= 90
ARGS     ?=
READY    := $(VENV)/.ready-$(EXTRAS)
PIP      := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Two ONNX Runtimes share one folder and break each other: setting up one takes the other away (docs/decisions/0002).
ifneq ($(and $(findstring cpu,$(EXTRAS)),$(findstring gpu,$(EXTRAS))),)
  $(error EXTRAS=$(EXTRAS): name cpu or gpu, not both)
endif
OTHER_RUNTIME := $(if $(findstring gpu,$(EXTRAS)),onnxruntime,onnxruntime-gpu)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs bench mutants clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*## */\1\t/p' $(MAKEFILE_LIST)

setup: $(READY)  ## a virtual environment with everything the extras name

# A venv is made by the standard library; where Debian left out ensurepip, the system's pip fills it instead.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Leeway needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; } || \
	  { echo "no virtual environment could be made; try: apt-get install python3-venv python3-pip" >&2; exit 2; }
	@echo "installing leeway[$(EXTRAS)] into $(VENV); the first time takes a minute or two ..."
	@$(PIP) uninstall --yes $(OTHER_RUNTIME) 2>/dev/null || true
	@$(PIP) install --editable '.[$(EXTRAS)]'
	@rm -f $(VENV)/.ready-* && touch '$@'

demo: setup      ## cameras, broker, daemon, drift and repair for DURATION seconds, then a report
	$(BIN)/leeway demo --duration $(DURATION) $(ARGS)

test: setup      ## the whole test suite
	$(BIN)/python -m pytest $(ARGS)

check: setup     ## format, lint, types, architecture: seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy evaluation edge drift porting devices cli
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_docs.py tests/test_contributing.py

docs: setup      ## pages that are made from the code
	$(BIN)/leeway config schema --markdown > docs/configuration.md

bench: setup     ## speed and memory, as ratios in one run; tables and JSON under runs/bench
	$(BIN)/python -m benchmarks $(ARGS)

mutants: setup   ## do the tests notice a wrong number? changes one at a time in a copy; results under runs/mutants
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || $(PIP) install --editable '.[mutants]'
	$(BIN)/python -m tests.mutants $(ARGS)

clean:           ## what the chores made
	rm -rf $(VENV) runs mutants .pytest_cache .mypy_cache .ruff_cache
