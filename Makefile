# make reproduce: the NO2 rows of Table 2.  make test: the tests.  make docs: the documentation, from docs/_build/html/index.html on.
# CONTRIBUTING.md has the rest. All make the virtual environment first, if needed.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := mixrl_env mixrl experiments
PYTEST := -m pytest --numprocesses 2 --dist worksteal

.PHONY: reproduce test lint docs coverage audit release lowest newest
reproduce: .venv/installed
	$(BIN)/python -m experiments reproduce

test: .venv/installed
	$(BIN)/python $(PYTEST)

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: .venv/installed
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html

# Lines that the tests run, their processes included; fails below the share that pyproject.toml
# states. Workers that tests kill leave files that cannot be read: combine names and skips them.
coverage: .venv/installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Code that could run what is in a file, then known holes in the pinned packages; --strict: one that cannot be looked up fails.
audit: .venv/installed
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(PACKAGES)
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# Wheel and sdist in dist/, each installed into an environment of its own, outside of the checkout, and tried there.
release: .venv/installed
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	@version=$$($(BIN)/python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])'); \
	for file in dist/*; do \
		folder=$$(mktemp -d) && \
		$(PYTHON) -m venv $$folder && \
		$$folder/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt ./$$file && \
		$$folder/bin/python -I tests/smoke.py $$version && \
		rm -r $$folder && echo "$$file works" || exit 1; \
	done

# The tests with the lowest versions that pyproject.toml allows, or with the newest.
lowest newest:
	$(PYTHON) -m venv .venv-$@
	.venv-$@/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-$@.txt --editable ".[dev]"
	.venv-$@/bin/python $(PYTEST)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
