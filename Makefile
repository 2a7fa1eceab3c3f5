# Needs python >= 3.11, make and git. Uses the uv on PATH, otherwise a copy of its own in .tools/.

PYTHON ?= python3
PORT ?= 8000
OUT ?= $(CURDIR)/..
# What `make demo` and `make new` take, whatever is newer.
UV_VERSION := uv==0.13.9
COOKIECUTTER := cookiecutter==2.7.1
# As a command, in quotes: the folder may have spaces, which a target of make may not.
UV := $(if $(shell command -v uv),uv)
ifeq ($(UV),)
UV := "$(CURDIR)/.tools/bin/uv"
OWN_UV := .tools/bin/uv
export UV_CONFIG_FILE := $(CURDIR)/.tools/uv.toml
endif
RUN_PYTHON := $(UV) run --quiet --isolated --no-project --python ">=3.11"
ifneq ($(NO_COLOR),)
export TERM := dumb
endif

.DEFAULT_GOAL := help
.PHONY: help demo new test test-library test-template soak docs openapi bench check fmt clean

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(OWN_UV) ## Serve the default service on PORT, with its own Postgres and a few rows; generated when it is not there
	@exec $(RUN_PYTHON) commands/demo.py "$(PORT)" $(UV) $(COOKIECUTTER)

new: $(OWN_UV) ## Ask the questions and generate a service beside this folder; OUT=~/src generates it there
	@$(RUN_PYTHON) --with $(COOKIECUTTER) commands/new.py "$(OUT)"

test: test-library test-template ## Run all tests: of the library, of the template and of what it generates

test-library: $(OWN_UV) ## Run the tests of the library; ARGS="tests/web -k name" are passed on
	cd dalkit && $(UV) run pytest -n 2 $(ARGS)

test-template: $(OWN_UV) ## Run the tests of the template and of what it generates; ARGS="-k name" are passed on
	$(UV) run pytest -n 2 $(ARGS)

soak: $(OWN_UV) ## Run the tests of the library that try something many times, at full length
	cd dalkit && SOAK=1 $(UV) run pytest -n 2 -m soak $(ARGS)
	SOAK=1 $(UV) run pytest -n 2 tests/test_simulation.py

docs: $(OWN_UV) ## Write the documentation of the library as a site into dalkit/site
	cd dalkit && $(UV) run zensical build --strict --clean --config-file mkdocs.yml

openapi: $(OWN_UV) ## Write openapi.json of the template from what its services say
	$(UV) run python -m tests.openapi_file

bench: $(OWN_UV) ## Measure beside what others pick, needs wrk; a part: make bench ARGS="http --only ours,bare"
	$(UV) run --group bench python -m benchmarks --write $(ARGS)

check: $(OWN_UV) ## Format, lint, types and tests
	$(UV) run nox

fmt: $(OWN_UV) ## Format the Python of the library and of the template, and apply safe fixes
	$(UV) run ruff format
	$(UV) run ruff check --fix
	cd dalkit && $(UV) run ruff format && $(UV) run ruff check --fix

clean: ## Remove environments, caches and the demo
	rm -rf .demo .tools .venv .nox .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dalkit/site

# uv reads no pip.conf: give it the machine's certificates and pip's index.
.tools/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  echo "This needs Python >= 3.11, and $(PYTHON) is $$($(PYTHON) --version 2> /dev/null || echo not there):" \
	    "install one, or name one that is there: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "==> installing uv into .tools/"
	@rm -rf .tools
	@{ $(PYTHON) -m venv --without-pip .tools \
	    && $(PYTHON) -m pip --python .tools/bin/python install --quiet --no-compile $(UV_VERSION); } 2> /dev/null \
	  || { $(PYTHON) -m venv --clear .tools && .tools/bin/python -m pip install --quiet $(UV_VERSION); }
	@{ echo 'system-certs = true'; \
	  $(PYTHON) -m pip config list 2> /dev/null | sed -n 's/^.*\.index-url=/index-url = /p' | tail -n 1; \
	} > .tools/uv.toml
