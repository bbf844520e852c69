# Two commands matter: `make demo` shows the main job, `make test` passes the tests.
# Each does its own set-up on a fresh Debian 12 with Python 3.11.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup servers demo test test-long fuzz lint bench bench-scale bench-tiers bench-capture bench-logs docs lock clean

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

# Tests start servers of their own; the binaries must be there, what mysqlclient is built with, and
# what the text of a PDF is set with. pgaudit's package is named after the version of the server.
SERVERS := postgresql pgbouncer mariadb-server curl git openssl openssh-client strace libmariadb-dev \
  pkg-config gcc python3-dev softhsm2 systemd \
  systemd-journal-remote zstd libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core
PROGRAMS := pgbouncer mariadbd curl git openssl ssh-agent strace gcc softhsm2-util journalctl zstd
NEWEST := basename "$$(dirname "$$(ls -d /usr/lib/postgresql/*/bin | sort | tail -1)")"
HAS_PYTHON_H := import os, sysconfig as s, sys; \
  sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))

servers:
	@{ ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && \
	  [ -e "/usr/lib/postgresql/$$($(NEWEST))/lib/pgaudit.so" ] && \
	  (for each in $(PROGRAMS); do PATH=$$PATH:/usr/sbin command -v $$each >/dev/null || exit 1; done) && \
	  [ -e /lib/systemd/systemd-journal-remote ] && \
	  [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] && \
	  (for each in pangoft2-1.0 harfbuzz-subset; do \
	    PATH=$$PATH:/sbin ldconfig -p | grep -q "lib$$each" || exit 1; done) && \
	  pkg-config --exists libmariadb 2>/dev/null && $(PYTHON) -c '$(HAS_PYTHON_H)'; } || { \
	  [ "$$(id -u)" = 0 ] || { echo "expected what the tests start and what mysqlclient is built with:" \
	    "apt-get install $(SERVERS), then postgresql-VERSION-pgaudit"; \
	    exit 2; }; \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SERVERS) && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    "postgresql-$$($(NEWEST))-pgaudit"; }

# What hangs on SQLAlchemy runs a second time, on the older minor version that we support.
ON_SQLALCHEMY := tests/capture/reads/test_shapes.py tests/capture/reads/test_sqlalchemy.py \
  $(addprefix tests/capture/postgres/,test_orm.py test_reads.py test_sqlalchemy.py \
  test_sqlalchemy_async.py) \
  $(addprefix tests/capture/mariadb/,test_reads.py test_sqlalchemy.py)
OLDER := .venv/sqlalchemy-2.0
MYSQLCLIENT := .venv/.mysqlclient
SPARK := .venv/spark

# Most of the time tests wait, for servers and processes of their own: two at a time, a file each.
TWO := -n 2 --dist loadfile

test: setup servers $(MYSQLCLIENT) $(OLDER)
	$(BIN)/pytest $(TWO) -m "not long"
	PYTHONPATH=$(OLDER) $(BIN)/python -c 'import sqlalchemy as s; assert s.__version__ < "2.1"'
	PYTHONPATH=$(OLDER) $(BIN)/pytest $(TWO) -m "not long" $(ON_SQLALCHEMY)

$(OLDER): requirements/sqlalchemy-2.0.txt | setup
	rm -rf $@
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --target $@ -r $<
	@touch $@

# There is no wheel of it: what has no compiler can do all but test.
$(MYSQLCLIENT): requirements/mysqlclient.txt | setup servers
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
	  --no-build-isolation -r $<
	@touch $@

test-long: setup servers $(MYSQLCLIENT) $(SPARK)
	@command -v java >/dev/null || { \
	  echo "expected Java, which Spark needs: apt-get install default-jre-headless"; exit 2; }
	PYTHONPATH=$(SPARK) $(BIN)/pytest -m long

# 500 MB that one test reads a lake with.
$(SPARK): requirements/spark.txt | setup
	rm -rf $@
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation \
	  --target $@ -r $<
	@touch $@

# Each target for so long; an input that one can't take is left in .venv/fuzz/crash-….
SECONDS ?= 60

fuzz: setup
	@mkdir -p .venv/fuzz
	@for target in $$($(BIN)/python -m tests.fuzz list); do \
	  echo "$$target"; $(BIN)/python -m tests.fuzz $$target -max_total_time=$(SECONDS) \
	    -artifact_prefix=.venv/fuzz/ -verbosity=0 || exit 1; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

# A trail of ten million entries: a quarter of an hour to make it, about as long to verify and ask it.
bench-scale: setup
	$(BIN)/python -m bench scale --events 10000000 --years 3

# Its tiers: what they cost, and whether each answer is what a plain scan finds. An hour.
bench-tiers: setup
	$(BIN)/python -m bench tiers --events 10000000
	$(BIN)/python -m bench oracle --events 10000000

# Beside other libraries, which are installed where nothing else looks for them.
PEERS := .venv/peers

bench-capture: setup servers $(PEERS)
	PYTHONPATH=$(PEERS) $(BIN)/python -m bench.peers > $(PEERS)/results
	mv $(PEERS)/results bench/results/capture_peers.txt
	cat bench/results/capture_peers.txt

bench-logs: setup $(PEERS)
	PYTHONPATH=$(PEERS) $(BIN)/python -m bench.logs > $(PEERS)/results
	mv $(PEERS)/results bench/results/logs.txt
	cat bench/results/logs.txt

$(PEERS): requirements/peers.txt | setup
	rm -rf $@
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --target $@ -r $<
	@touch $@

docs: setup
	$(BIN)/mkdocs build --strict

lock: setup
	$(BIN)/pip-compile --quiet --generate-hashes --unsafe-package mysqlclient --strip-extras \
	  --all-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/dev.txt pyproject.toml requirements/dev.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/mysqlclient.txt requirements/mysqlclient.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/sqlalchemy-2.0.txt requirements/sqlalchemy-2.0.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/peers.txt requirements/peers.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  -o requirements/spark.txt requirements/spark.in

clean:
	rm -rf .venv build dist site
