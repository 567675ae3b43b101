# One command for each thing a person does. Needs only make and a Python of 3.11 or newer: the rest goes into .venv.
# PYTHON=/path/to/python3 chooses the interpreter; PYTEST="-k name" hands pytest more arguments, BENCH="--list" the benchmark.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PYTEST ?=
BENCH ?=

# A virtual environment whose Python is gone (a removed interpreter, a moved folder) is made anew, its stamps with it.
$(shell test -x $(BIN)/python || rm -rf $(VENV))

.PHONY: help demo test check bench screenshots format clean check-lint check-format check-types check-layers check-policies

help:
	@echo "make demo    the main job, end to end, against a local sandbox service"
	@echo "make test    every test, on loopback alone"
	@echo "make check   lint, format, types, layers, policies"
	@echo "make bench   the gateway beside Envoy, Squid, nginx, mitmproxy and proxy.py, in under five minutes"
	@echo "make screenshots  a picture of each page, into screenshots/"
	@echo "make format  put the code into its format"
	@echo "make clean   remove .venv and every cache"

demo: $(VENV)/.run
	@$(BIN)/gateway demo

test: $(VENV)/.test
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile $(PYTEST)

# Each by itself, so that `make -k check` tells everything at once.
CHECKS := check-lint check-format check-types check-layers check-policies
check: $(CHECKS)

$(CHECKS): $(VENV)/.dev
check-lint:
	$(BIN)/ruff check .
check-format:
	$(BIN)/ruff format --check .
check-types:
	$(BIN)/mypy
check-layers:
	$(BIN)/lint-imports
check-policies:
	$(BIN)/gateway check policies/*.toml

bench: $(VENV)/.run
	@$(BIN)/python benchmarks $(BENCH)

screenshots: $(VENV)/.test
	@$(BIN)/python tests/e2e/screenshots.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that is new enough and can make a virtual environment, unless PYTHON names one.
define FIND_PYTHON
for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11 python /usr/bin/python3); do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	python=; \
done; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer with venv was found$(if $(PYTHON), at $(PYTHON))." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1; \
fi
endef

$(BIN)/python:
	@$(FIND_PYTHON); \
	echo "Making $(VENV) with $$("$$python" -c 'import platform, sys; print(f"Python {platform.python_version()} ({sys.executable})")')"; \
	"$$python" -m venv $(VENV)

# What is installed, and a stamp for it: installed again only when pyproject.toml changes.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing the gateway into $(VENV)" && $(INSTALL) . && touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing the gateway and its tests into $(VENV)" && $(INSTALL) '.[test]' && touch $@ $(VENV)/.run

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing the gateway and its tools into $(VENV)" && $(INSTALL) '.[test,dev,postgres]' && touch $@ $(VENV)/.run $(VENV)/.test
