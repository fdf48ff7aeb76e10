# `make demo` and `make test` set up all they need. Before them: Python 3.11 or newer, make, and a network to PyPI.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test browser e2e lint demo-recording lock engine-options clean

help: ## say what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## run a whole study on the embedded simulated target, then say where to look
	@$(BIN)/tuner start --file studies/demo.yaml --storage sqlite:///demo/tuner.db --new --yes
	@echo
	@echo "Look at it again:   $(BIN)/tuner show --storage sqlite:///demo/tuner.db        (-o wide, json, yaml)"
	@echo "In a browser:       $(BIN)/tuner dashboard --storage sqlite:///demo/tuner.db"
	@echo "Tune a cluster:     $(BIN)/tuner doctor -n NAMESPACE, then $(BIN)/tuner start -n NAMESPACE   (docs/kubernetes.md)"

test: $(VENV)/.dev ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

browser: $(VENV)/.dev ## run the tests of the dashboard in a browser (Chromium; tests/support/browser.py says which)
	$(BIN)/python -m pytest tests/browser

e2e: $(VENV)/.dev ## run the end-to-end tests on a real cluster (tests/e2e/conftest.py says which)
	$(BIN)/python -m pytest tests/e2e -m "not alone and not outage" -n 3 --dist loadgroup
	$(BIN)/python -m pytest tests/e2e -m alone
	$(BIN)/python -m pytest tests/e2e -m outage

lint: $(VENV)/.dev ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo-recording: $(VENV)/.runtime ## record the study that `tuner dashboard --demo` shows anew
	rm -f demo/recording.db
	$(BIN)/tuner start --file studies/demo.yaml --storage sqlite:///demo/recording.db --new --yes --name demo
	$(BIN)/python tools/record_demo.py demo/recording.db tuner/dashboard/demo.db.gz

lock: $(VENV)/.dev ## resolve the versions in requirements/*.in anew
	for part in runtime build dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command 'make lock' requirements/$$part.in --output-file requirements/$$part.txt || exit 1; done

engine-options: ## read vLLM's options anew, from a Python that has the newest vLLM: make engine-options VLLM=PYTHON
	@test -x "$(VLLM)" || { echo "name a Python that has vLLM: make engine-options VLLM=/path/to/python"; exit 2; }
	$(VLLM) tools/vllm_options.py > tuner/engines/vllm/options.json.new
	mv tuner/engines/vllm/options.json.new tuner/engines/vllm/options.json

clean: ## remove what was made here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("tuner needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo "installing tuner and what it needs into $(VENV) (once)"
	$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "installing what the tests need (once)"
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
