# Two commands do everything: `make demo` and `make test`. Both need only Python >= 3.11 and make,
# and a package index the first time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYNCED := $(VENV)/synced
DEMO_ARGS := $(if $(CSV),--csv $(CSV),) $(if $(N),--events $(N),) $(if $(BROKER),--broker $(BROKER),) $(if $(KEEP),--keep,)

.PHONY: demo test lint unit faults qualify bench bench-full lock clean
demo: $(SYNCED) ## score sample events on a real Kafka, from nothing to predictions
	$(BIN)/scorer demo $(DEMO_ARGS)

test: $(SYNCED) ## unit, contract and integration tests, coverage of the core
	$(BIN)/python -m pytest tests --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 --durations=40

unit: $(SYNCED)
	$(BIN)/python -m pytest tests/unit tests/contract -q

lint: $(SYNCED) ## formatting, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

RIG = $(BIN)/python -m pytest tests/faults --table docs/qualification.md $(if $(SEED),--seed $(SEED),) $(if $(ONLY),--only $(ONLY),)
faults: $(SYNCED) ## the fault rig, up to 45 minutes; writes docs/qualification.md
	$(BIN)/python -m pytest tests/integration -m thorough --level faults
	$(RIG) --level faults

qualify: $(SYNCED) ## the fault rig at full counts, some hours; goes on where it was left: MINUTES=90 ONLY=T2,T13
	$(RIG) --level qualify --resume $(if $(MINUTES),--minutes $(MINUTES),)

bench: $(SYNCED) ## our figures and the careful loop's, in one run of ten minutes
	$(BIN)/python -m bench

PEERS := .venv-peers
bench-full: $(SYNCED) $(PEERS)/synced ## the same with other frameworks, up to an hour; writes docs/performance.md
	$(BIN)/python -m bench --full

$(PEERS)/synced: bench/peers/requirements.txt $(SYNCED)
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	VIRTUAL_ENV=$(PEERS) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode bench/peers/requirements.txt
	touch $@

$(SYNCED): requirements/dev.txt requirements/uv.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "Python 3.11 to 3.14 is needed, for which the locked packages have wheels; make PYTHON=python3.14 takes another than this, " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements/dev.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q scorer
	touch $@

lock: ## renew the lock files (needs the package index)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header -o requirements/uv.txt requirements/uv.in
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra postgres --extra gateway --extra s3 -o requirements/runtime.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra local --extra postgres --extra s3 --group dev -o requirements/dev.txt pyproject.toml requirements/uv.in
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra local --extra postgres --extra s3 --group dev --group train -o requirements/train.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header -o bench/peers/requirements.txt bench/peers/requirements.in

clean:
	rm -rf $(VENV) $(PEERS) dist build .demo
