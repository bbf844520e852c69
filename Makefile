# Two commands matter: `make demo` shows the main job, `make test` passes the tests.
# Each does its own set-up on a fresh Debian 12 with Python 3.11.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-long lint bench docs lock clean

setup: .venv/.installed

.venv/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "expected the venv module, found none: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: setup
	$(BIN)/indelible demo

test: setup
	$(BIN)/pytest -m "not long"

test-long: setup
	$(BIN)/pytest -m long

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

docs: setup
	$(BIN)/mkdocs build --strict

lock: setup
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --all-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/dev.txt pyproject.toml requirements/dev.in

clean:
	rm -rf .venv build dist site
