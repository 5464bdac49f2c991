# make reproduce: the NO2 rows of Table 2.  make test: the tests.  make docs: the documentation, from docs/_build/html/index.html on.
# All make the virtual environment first, if needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce test lint docs
reproduce: .venv/installed
	$(BIN)/python -m experiments reproduce

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: .venv/installed
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
