# Each target sets up what it needs from a fresh clone: the virtual environment with its packages, npm packages, and
# Debian packages where a command is missing. What is there already is left alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A stamp stands for an installation; it is older than pyproject.toml when that has changed since.
RUN_STAMP := $(VENV)/.run-installed
CLUSTER_STAMP := $(VENV)/.cluster-installed
DEV_STAMP := $(VENV)/.dev-installed
BENCH_STAMP := $(VENV)/.bench-installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

npm_stamps = $(patsubst %/package.json,%/node_modules/.installed,$(wildcard $(addsuffix /package.json,$(1))))
TEST_NPM := $(call npm_stamps,tests/interop tests/contracts tests/redis benchmarks/chaos)
WEBUI_NPM := $(call npm_stamps,webui)
WEBUI_SOURCES := $(shell find webui -name node_modules -prune -o -type f -print)
PAGES := rtserver/pages/static/index.html
BENCH_NPM := $(call npm_stamps,benchmarks/peers)
CHAOS_NPM := $(call npm_stamps,benchmarks/chaos)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check webui contracts screenshots bench plots costs scaling bench-check bench-baseline chaos format clean autobahn

help: ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

run: $(CLUSTER_STAMP) $(PAGES) ## Start a Redis, two nodes and the proxy; they print one URL
	$(BIN)/rtserver cluster

test: check $(TEST_NPM) $(PAGES) ## Check, then run every test
	@scripts/apt-install psql postgresql
	@scripts/apt-install ip iproute2
	@scripts/apt-install haproxy haproxy
	@scripts/apt-install nginx nginx-light
	@scripts/apt-install caddy caddy
	@scripts/apt-install gcc gcc libc6-dev
	$(BIN)/pytest tests/protocol --cov=rtserver.protocol --cov-fail-under=100
	$(BIN)/pytest tests --ignore=tests/protocol --numprocesses=auto --maxprocesses=4 --dist=loadfile
	cd webui && npm run --silent test
	@scripts/apt-install chromium chromium
	cd webui && npm run --silent e2e

check: $(DEV_STAMP) $(WEBUI_NPM) ## Lint, format, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	cd webui && npm run --silent check

webui: $(PAGES) ## Build the pages that nodes serve

$(PAGES): $(WEBUI_NPM) $(WEBUI_SOURCES)
	cd webui && npm run --silent build
	@touch $@

contracts: $(DEV_STAMP) ## Write what is made of the application's events: the pages' types, the AsyncAPI document
	RTSERVER_CHAT_FOLDER=$$(mktemp -d) $(BIN)/rtserver typescript rtserver.handlers.app:io > webui/src/lib/events.ts
	RTSERVER_CHAT_FOLDER=$$(mktemp -d) $(BIN)/rtserver asyncapi rtserver.handlers.app:io > docs/asyncapi.json

screenshots: $(DEV_STAMP) $(PAGES) ## Make the pictures of the pages, in docs
	@scripts/apt-install chromium chromium
	cd webui && npm run --silent screenshots

bench: $(BENCH_STAMP) $(BENCH_NPM) ## Measure this server and its peers in one run (ONLY=echo,polls TURNS=1: a part)
	@scripts/apt-install gcc gcc libc6-dev
	@scripts/apt-install haproxy haproxy
	@scripts/apt-install nginx nginx-light
	$(BIN)/python benchmarks/run.py; said=$$?; \
	[ $$said -eq 2 ] || $(BIN)/python -m benchmarks.plots --latest; exit $$said

plots: $(BENCH_STAMP) ## Draw the plots of benchmarks/results.json, in docs/plots
	$(BIN)/python -m benchmarks.plots

costs: $(BENCH_STAMP) $(CLUSTER_STAMP) $(BENCH_NPM) ## Measure what relaying between nodes costs, for the model of a cluster
	@scripts/apt-install gcc gcc libc6-dev
	$(BIN)/python benchmarks/costs.py

scaling: $(RUN_STAMP) ## Write the tables of docs/scaling.md from the measured costs
	$(BIN)/python -m benchmarks.simulation

bench-check: $(BENCH_STAMP) $(BENCH_NPM) ## Fail if this server has become slower, beside Node, than benchmarks/baseline.json
	@scripts/apt-install gcc gcc libc6-dev
	@scripts/apt-install valgrind valgrind || echo "without valgrind"
	$(BIN)/python benchmarks/check.py

bench-baseline: $(BENCH_STAMP) $(BENCH_NPM) ## Measure benchmarks/baseline.json anew
	@scripts/apt-install gcc gcc libc6-dev
	@scripts/apt-install valgrind valgrind || echo "without valgrind"
	$(BIN)/python benchmarks/check.py --baseline

chaos: $(CLUSTER_STAMP) $(CHAOS_NPM) ## Do each fault of a bad day to a cluster under load, and measure what must hold
	@scripts/apt-install gcc gcc libc6-dev
	$(BIN)/python -m benchmarks.chaos $(if $(ONLY),--only $(ONLY)) $(CHAOS_ARGS)

autobahn: $(RUN_STAMP) ## Run Autobahn's WebSocket test suite: WSTEST is its command, CASES some of them
	@test -n "$(WSTEST)" || { echo "WSTEST is not set: say where the suite's wstest is" >&2; exit 2; }
	$(BIN)/python tests/autobahn/run.py "$(WSTEST)" $(CASES)

format: $(DEV_STAMP) ## Format, and mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove what make has built or installed
	rm -rf $(VENV) dist benchmarks/build rtserver/pages/static .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name node_modules -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/apt-install ensurepip python3-venv
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(CLUSTER_STAMP): $(RUN_STAMP)
	$(PIP_INSTALL) --editable '.[chat,cluster,postgres]'
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(BENCH_STAMP): $(RUN_STAMP)
	$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

.SECONDEXPANSION:
%/node_modules/.installed: %/package.json $$(wildcard $$*/package-lock.json)
	@scripts/apt-install npm nodejs npm
	cd $* && npm $(if $(wildcard $*/package-lock.json),ci,install) --no-audit --no-fund --no-update-notifier
	@touch $@
