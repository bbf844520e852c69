# Two commands matter: `make demo` shows the main job, `make test` passes the tests.
# Each does its own set-up on a fresh Debian 12 with Python 3.11.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup servers demo test test-long lint bench docs lock clean

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

# Tests start servers of their own; the binaries must be there.
servers:
	@{ ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && \
	  PATH=$$PATH:/usr/sbin command -v pgbouncer >/dev/null && \
	  command -v curl >/dev/null; } || { \
	  [ "$$(id -u)" = 0 ] || { echo "expected PostgreSQL, PgBouncer and curl:" \
	    "apt-get install postgresql pgbouncer curl"; exit 2; }; \
	  apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends postgresql pgbouncer curl; }

test: setup servers
	$(BIN)/pytest -m "not long"

test-long: setup servers
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
