# make run        the hub with its demo on http://localhost:8080
# make test       every test that this machine can run; the others are named with the reason
# make test AREA=hub/core   the tests of a folder of the product, or of tests/: several with spaces between them
# make cover      the tests of hub/ and channels/, with the lines of the product that no test reaches
# make lint       style, types, borders between packages, references, generated documents
# make bench      figures of this machine, beside its own limit
# make test-long  the long forms of the tests
# make dist       the wheel and the source archive of a release, into dist/
# make conformance  the conformance suite on the hub and on other Bayeux servers, into docs/conformance.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_CLIENTS := tests/clients/node

# what a target installed is remembered by a stamp: a second run installs nothing
BASE := $(VENV)/.installed
TEST := $(VENV)/.installed-test
NODE := $(NODE_CLIENTS)/node_modules/.installed
GENERATORS := $(VENV)/generators/.installed
GO_CLIENTS := tests/clients/go
GO_PROGRAM := $(VENV)/go/cloudevents-send
JAVA_CLIENTS := tests/clients/java
JAVA_PROGRAMS := $(VENV)/java/.installed

AREA ?=
PYTEST_ARGS ?=
WORKERS ?= 2

# the tests of hub/core are in tests/hub/core
TESTS = $(patsubst tests/tests%,tests%,$(addprefix tests/,$(AREA)))
# bytecode is kept, also where the environment says otherwise: without it each worker compiles the tests for 10 s
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test cover test-long conformance lint format bench reference dist clean

help:
	@sed -n 's/^# make /  make /p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or later is needed, {sys.executable} is " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the hub and its packages into $(VENV): a minute or two at the first start"
	$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(TEST): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(BASE) $@

# code generators that the tests run on /openapi.json: their packages are of other versions than the hub's
$(GENERATORS): tests/generators/requirements.txt | $(BIN)/python
	@echo "installing code generators into $(VENV)/generators"
	$(BIN)/python -m venv $(VENV)/generators
	$(VENV)/generators/bin/python -m pip install --progress-bar on --disable-pip-version-check --requirement $<
	@touch $@

# without npm there is nothing to install; the tests that need it say so themselves
$(NODE): $(NODE_CLIENTS)/package.json $(NODE_CLIENTS)/package-lock.json
	@if command -v npm > /dev/null; then \
		echo "npm ci in $(NODE_CLIENTS)"; npm ci --prefix $(NODE_CLIENTS) --no-audit --no-fund --loglevel=error && touch $@; \
	else \
		echo "npm is not installed: the tests with Node clients will be skipped"; \
	fi

# without Go there is nothing to build; it may be off the path, where its own installer puts it
$(GO_PROGRAM): $(wildcard $(GO_CLIENTS)/*) | $(BIN)/python
	@PATH="$$PATH:/usr/local/go/bin"; if command -v go > /dev/null; then \
		echo "go build in $(GO_CLIENTS)"; mkdir -p $(@D) && cd $(GO_CLIENTS) && GOTOOLCHAIN=local go build -o $(abspath $@) .; \
	else \
		echo "Go is not installed: the tests with the SDK for Go will be skipped"; \
	fi

# without Maven there is nothing to build; what it fetches it keeps where it always does
$(JAVA_PROGRAMS): $(JAVA_CLIENTS)/pom.xml $(wildcard $(JAVA_CLIENTS)/*/*) | $(BIN)/python
	@if command -v mvn > /dev/null && command -v javac > /dev/null; then \
		echo "mvn in $(JAVA_CLIENTS)"; \
		mvn --batch-mode --quiet --file $(JAVA_CLIENTS)/pom.xml -Dbuild=$(abspath $(@D)) process-classes && touch $@; \
	else \
		echo "Maven is not installed: the tests with CometD's clients for Java will be skipped"; \
	fi

run: $(BASE)
	$(BIN)/hub serve --demo

test: $(TEST) $(NODE) $(GENERATORS) $(GO_PROGRAM) $(JAVA_PROGRAMS)
	$(PYTEST) $(PARALLEL) $(TESTS) $(PYTEST_ARGS)

cover: $(TEST) $(NODE) $(GENERATORS) $(GO_PROGRAM) $(JAVA_PROGRAMS)
	$(PYTEST) $(PARALLEL) --cov --cov-report=term:skip-covered tests/hub tests/channels $(PYTEST_ARGS)

test-long: $(TEST) $(NODE) $(GENERATORS) $(GO_PROGRAM) $(JAVA_PROGRAMS)
	$(PYTEST) -m long --timeout 1800 $(PYTEST_ARGS)

conformance: $(TEST)
	$(BIN)/python -m tests.conformance.compare

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.reference --check
	$(BIN)/python -m tools.citations

format: $(TEST)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(TEST)
	$(BIN)/python -m tools.reference

bench: $(TEST)
	$(BIN)/python -m bench
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.webhooks

dist: $(TEST)
	rm -rf dist
	$(BIN)/python -m hatchling build

clean:
	rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
