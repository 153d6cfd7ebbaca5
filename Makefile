# Every target installs what it needs first, works a second time, and after an interrupted first time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo sandbox serve test check screenshots fuzz bench bench-accounts bench-sip pjsip clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

install: ## install Debian, Python and npm packages, build the page bundle and the WASM
	@.ci/install

demo: install ## bridge one call each way and measure it; ARGS="--no-helper" etc. go to the demo
	@.venv/bin/python -m tests.demo $(ARGS)

sandbox: install ## everything on loopback until Ctrl-C, configured by nobody yet
	@.venv/bin/python -m tests.demo.sandbox $(ARGS)

serve: ## the real service: gateway and wasm server
	@.ci/install runtime
	@.venv/bin/ponte serve $(ARGS)

test: install ## every test; ARGS go to pytest
	@.ci/test $(ARGS)

check: install ## ruff, mypy, import-linter, tsc, eslint
	@.ci/check

bench: ## figures and plots beside other programs', in build/bench.json; ARGS="--quick", ARGS="SECTION ..."
	@.ci/install bench
	@.venv/bin/python -m tests.bench $(ARGS)

bench-accounts: install ## memory and CPU of idle accounts, attach to READY, in build/accounts.json; eight minutes, ARGS=--quick
	@.venv/bin/python -m tests.bench.bench_accounts $(ARGS)

bench-sip: install ## SIP figures, with sippy beside them, in build/bench-sip.json; five minutes
	@.venv/bin/python -m tests.bench.bench_sip $(ARGS)

screenshots: install ## the pictures of docs/dashboard.md, of a real call in the real dashboard
	@.venv/bin/python -m tests.e2e.dashboard.screenshots

fuzz: install ## any bytes for what reads the network, five minutes; ARGS="--seconds 3600 agent sdp" etc.
	@.venv/bin/python -m tests.fuzz $(ARGS)

pjsip: install ## calls with PJSIP, the stack of chan_pjsip; Python 3.11 or 3.12 on x86-64
	@.venv/bin/python -m venv build/pjsip-venv
	@build/pjsip-venv/bin/python -m pip install -q --require-hashes -r tests/support/requirements-pjsip.txt
	@.venv/bin/python -m pytest tests/integration/sip/test_pjsip.py $(ARGS)

clean: ## remove what was built and installed in this folder
	@rm -rf build dist .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	    wasm_server/page/node_modules wasm_server/page/dist node_helper/node_modules node_helper/dist tests/webphone/node_modules \
	    gateway/api/explorer/node_modules gateway/api/dashboard/node_modules
	@find gateway -name '*.so' -delete
	@find gateway wasm_server tests -name __pycache__ -type d -prune -exec rm -rf {} +
