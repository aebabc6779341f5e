# make run        the hub with its demo on http://localhost:8080
# make test       every test that this machine can run; the others are named with the reason
# make test AREA=hub/core   the tests of a folder of the product, or of tests/: several with spaces between them
# make cover      every test, with the lines of the product that no test reaches
# make lint       style, types, borders between packages, references, generated documents
# make bench      figures of this machine, beside its own limit
# make test-long  the long forms of the tests
# make installed  all that the checks need: `make --jobs 4 installed` installs side by side
# make compiled   the bytecode of the product and the tests, before several test processes each make it for themselves
# make dist       the wheel, the source archive and the SBOM of a release, into dist/
# make lock       requirements.lock and requirements-build.lock, from which the image installs and is built, with hashes
# make conformance  the conformance suite on the hub and on other Bayeux servers, into docs/conformance.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_CLIENTS := tests/clients/node

# what a target installed is remembered by a stamp: a second run installs nothing
BASE := $(VENV)/.installed
TEST := $(VENV)/.installed-test
BUILD := $(VENV)/.installed-build
NODE := $(NODE_CLIENTS)/node_modules/.installed
GENERATORS := $(VENV)/generators/.installed
GO_CLIENTS := tests/clients/go
GO_PROGRAM := $(VENV)/go/cloudevents-send
# a server of S3's protocol that checks signatures, for the tests; its version is in the name of its stamp
S3_SERVER_VERSION := v1.8.0
S3_SERVER := $(VENV)/go/.versitygw-$(S3_SERVER_VERSION)
JAVA_CLIENTS := tests/clients/java
JAVA_PROGRAMS := $(VENV)/java/.installed

AREA ?=
PYTEST_ARGS ?=
# not empty: the lines of the product that the test processes run are measured, and reported at the end
COVERAGE ?=
# more than half of the time of tests is waiting: seven processes keep the two cores of a usual machine busy meanwhile
WORKERS ?= 7

# the tests of hub/core are in tests/hub/core
TESTS = $(patsubst tests/tests%,tests%,$(addprefix tests/,$(AREA)))
# bytecode is kept, also where the environment says otherwise: without it each process compiles the tests and the hub for 10 s
export PYTHONDONTWRITEBYTECODE :=
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS) --dist worksteal
# what needs nothing of the machine but Python and npm
PACKAGES := $(TEST) $(NODE) $(GENERATORS)
INSTALLED := $(PACKAGES) $(BUILD) $(GO_PROGRAM) $(S3_SERVER) $(JAVA_PROGRAMS)
LINTS := lint-ruff lint-format lint-mypy lint-imports lint-generated lint-citations

.DEFAULT_GOAL := help
.PHONY: help run test cover test-long conformance lint $(LINTS) format bench reference installed packages compiled dist lock clean

help:
	@sed -n 's/^# make /  make /p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or later is needed, {sys.executable} is " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the hub and its packages into $(VENV)"
	tools/install.sh $(VENV) --constraint constraints.txt --editable .
	@touch $@

$(TEST): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	tools/install.sh $(VENV) --constraint constraints.txt --editable '.[test]'
	@touch $(BASE) $@

$(BUILD): pyproject.toml constraints.txt | $(TEST)
	@echo "installing what builds a release into $(VENV)"
	tools/install.sh $(VENV) --constraint constraints.txt --editable '.[build]'
	@touch $(BASE) $(TEST) $@

# code generators that the tests run on /openapi.json: their packages are of other versions than the hub's
$(GENERATORS): tests/generators/requirements.txt | $(TEST)
	@echo "installing code generators into $(VENV)/generators"
	$(BIN)/python -m venv --without-pip $(VENV)/generators
	tools/install.sh $(VENV)/generators --requirement $<
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

# It takes minutes of CPU to build, so the program is kept for every clone on this machine, in the user's cache. It asks for a newer Go than
# some have, which Go 1.21 or later fetches by itself.
$(S3_SERVER): | $(BIN)/python
	@PATH="$$PATH:/usr/local/go/bin"; kept="$${XDG_CACHE_HOME:-$$HOME/.cache}/cx-event-hub/versitygw-$(S3_SERVER_VERSION)"; \
	if [ ! -x "$$kept/versitygw" ] && command -v go > /dev/null; then \
		echo "go install versitygw $(S3_SERVER_VERSION), kept in $$kept: minutes, once"; \
		mkdir -p "$$kept" && built=$$(mktemp -d "$$kept/building.XXXXXX") && \
		{ GOTOOLCHAIN=auto GOBIN="$$built" go install github.com/versity/versitygw/cmd/versitygw@$(S3_SERVER_VERSION) && \
			mv "$$built/versitygw" "$$kept/versitygw"; rm -rf "$$built"; }; \
	fi; \
	if [ -x "$$kept/versitygw" ]; then \
		mkdir -p $(@D) && rm -f $(@D)/versitygw && { ln "$$kept/versitygw" $(@D)/versitygw 2> /dev/null || \
			cp "$$kept/versitygw" $(@D)/versitygw; } && touch $@; \
	else \
		echo "versitygw cannot be built without Go 1.21 or later: the tests with a server of S3's protocol will be skipped"; \
	fi

# without Maven there is nothing to build; what it fetches it keeps where it always does
$(JAVA_PROGRAMS): $(JAVA_CLIENTS)/pom.xml $(wildcard $(JAVA_CLIENTS)/*/*) | $(BIN)/python
	@if command -v mvn > /dev/null && command -v javac > /dev/null; then \
		echo "mvn in $(JAVA_CLIENTS)"; \
		mvn --batch-mode --quiet --file $(JAVA_CLIENTS)/pom.xml -Dbuild=$(abspath $(@D)) process-classes && touch $@; \
	else \
		echo "Maven is not installed: the tests with CometD's clients for Java will be skipped"; \
	fi

installed: $(INSTALLED)

packages: $(PACKAGES)

# pytest changes the tests before it compiles them, so it is asked for them; of a fault of a test module all is shown
compiled: $(TEST)
	@printed=$$($(PYTEST) --collect-only -qq 2>&1) || { echo "$$printed"; exit 1; }

run: $(BASE)
	$(BIN)/hub serve --demo

test: $(INSTALLED)
ifeq ($(COVERAGE),)
	$(PYTEST) $(PARALLEL) $(TESTS) $(PYTEST_ARGS)
else
	rm -f .coverage .coverage.*
	PYTEST_PLUGINS=tests.support.line_coverage $(PYTEST) $(PARALLEL) $(TESTS) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
endif

cover:
	$(MAKE) test COVERAGE=1

test-long: $(INSTALLED)
	$(PYTEST) -m long --timeout 1800 $(PYTEST_ARGS)

conformance: $(TEST)
	$(BIN)/python -m tests.conformance.compare

# `make --jobs 2 lint` takes half the time
lint: $(LINTS)

$(LINTS): $(TEST)

lint-ruff:
	$(BIN)/ruff check .

lint-format:
	$(BIN)/ruff format --check .

lint-mypy:
	$(BIN)/mypy

lint-imports:
	$(BIN)/lint-imports

lint-generated:
	$(BIN)/python -m tools.reference --check

lint-citations:
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

# the packages are installed as the image installs them: what the SBOM lists is what was installed, and every hash was compared
dist: $(BUILD)
	rm -rf dist build/image
	$(BIN)/python -m hatchling build
	$(BIN)/python -m venv --without-pip build/image
	$(BIN)/python -m pip --python build/image/bin/python install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip --python build/image/bin/python install --quiet --disable-pip-version-check --no-deps dist/*.whl
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible --of JSON \
		-o "$$(ls dist/*.whl | sed 's/-py3.*//').cdx.json" build/image/bin/python

# for every system and every Python that the hub runs on; the versions are those of constraints.txt
lock: $(BUILD)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command 'make lock' --constraint constraints.txt pyproject.toml --output-file requirements.lock
	echo 'hatchling>=1.27' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --custom-compile-command 'make lock' --constraint constraints.txt - --output-file requirements-build.lock

clean:
	rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
