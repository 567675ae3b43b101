# One command for each thing a person does. Needs only make and a Python of 3.11 or newer: the rest goes into .venv.
# PYTHON=/path/to/python3 chooses the interpreter; PYTEST="-k name" hands pytest more arguments, BENCH="--list" the benchmark.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PYTEST ?=
BENCH ?=

# A virtual environment whose Python is gone (a removed interpreter, a moved folder) is made anew, its stamps with it.
$(shell test -x $(BIN)/python || rm -rf $(VENV))

.PHONY: help demo test test-long test-fast fuzz check fast bench screenshots format clean check-lint check-format check-types check-layers check-policies check-instructions check-audit lock

help:
	@echo "make demo    the main job, end to end, against a local sandbox service"
	@echo "make test    the tests, on loopback alone, in under five minutes"
	@echo "make test-long  those that take long: processes that die, every page in a browser, other people's tools"
	@echo "make fuzz    100,000 new examples of each property, for an hour or two"
	@echo "make fast    the same gateway with its data plane as machine code, into .fast (needs a C compiler)"
	@echo "make check   lint, format, types, layers, policies, instructions of the pure parts, known vulnerabilities"
	@echo "make bench   the gateway beside Envoy, Squid, nginx, mitmproxy and proxy.py, in under five minutes"
	@echo "make screenshots  a picture of each page, into screenshots/"
	@echo "make lock    take newer versions into what the image installs"
	@echo "make format  put the code into its format"
	@echo "make clean   remove .venv and every cache"

demo: $(VENV)/.run
	@$(BIN)/gateway demo

# Two more at a time than there are processors, since many wait for a clock or a browser; six at most.
AT_ONCE := $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$((n + 2)) || echo 6)
# What is compiled once is kept, whatever the surroundings say: the tests start a hundred programs of ours. What goes to
# one process, and in which order, is said in tests/conftest.py.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.test
	@$(TESTS) -m "not long" $(PYTEST)
TESTS := $(BIN)/python -m pytest -n $(AT_ONCE) --dist=loadgroup --no-loadscope-reorder

# Processes that die, every page in a browser, other people's tools: tests/conftest.py says which.
test-long: export PYTHONDONTWRITEBYTECODE :=
test-long: $(VENV)/.test
	@$(TESTS) -m long $(PYTEST)

# New examples each time, and a thousand times as many as `make test` tries.
fuzz: $(VENV)/.test
	@HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n auto --maxprocesses=4 -m hypothesis -o timeout=0 $(PYTEST)

# Each by itself, so that `make -k check` tells everything at once.
CHECKS := check-lint check-format check-types check-layers check-policies check-instructions check-audit
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
check-instructions:
	@$(BIN)/python benchmarks/instructions.py
check-audit:
	@$(BIN)/python locks/audit.py

# What the image installs, each file by its hash. A newer version comes in here and nowhere else.
LOCK = $(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
lock: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) pyproject.toml --extra postgres --output-file locks/run.txt
	$(LOCK) locks/build.in --constraint locks/run.txt --output-file locks/build.txt
	@$(BIN)/python locks/audit.py

# mypy's compiler takes the very files that Python runs. It works on a copy: what it leaves beside them would be used in
# their place, whatever is edited afterwards.
FAST := .fast
FASTER := PYTHONPATH=$(FAST) $(BIN)/python
fast: $(FAST)/.built
	@echo "Start it with: $(FASTER) -m gateway serve"
	@echo "Elsewhere: pip install $$(ls $(FAST)/*.whl)"

$(FAST)/.built: pyproject.toml $(shell find gateway -name '*.py') | $(VENV)/.dev
	@rm -rf $(FAST) && mkdir -p $(FAST)/src && cp -r pyproject.toml README.md LICENSE gateway policies $(FAST)/src
	@echo "Compiling the data plane, which takes a minute"
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/python -m build --wheel --no-isolation --outdir $(FAST) $(FAST)/src >$(FAST)/log 2>&1 || \
		{ tail -n 20 $(FAST)/log; echo "It needs a C compiler (Debian, Ubuntu: apt-get install gcc); $(FAST)/log has it all"; exit 1; }
	@$(BIN)/python -m zipfile -e $(FAST)/*.whl $(FAST) && rm -rf $(FAST)/src && touch $@

# The data plane's tests against the compiled one, in a folder that has no sources.
test-fast: $(FAST)/.built | $(VENV)/.test
	@rm -rf $(FAST)/tests && cp -r tests policies pyproject.toml config.example.toml $(FAST)
	@cd $(FAST) && ../$(BIN)/python -c 'import gateway.proxy.exchange as one; assert one.__file__.endswith(".so"), one.__file__'
	@cd $(FAST) && ../$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile $(FAST_TESTS) $(PYTEST)
FAST_TESTS := tests/http tests/policy tests/proxy tests/rules tests/vectors tests/test_metrics.py

# The compiled gateway where it can be had, and the interpreted one beside it.
bench: $(VENV)/.run
	@if command -v cc >/dev/null; then $(MAKE) --no-print-directory fast >/dev/null; fi
	@$(BIN)/python benchmarks $$(test -e $(FAST)/.built && echo --site $(FAST)) $(BENCH)

screenshots: $(VENV)/.test
	@$(BIN)/python tests/e2e/screenshots.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(FAST) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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
