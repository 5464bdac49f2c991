# make reproduce: the NO2 rows of Table 2.  make test: the tests.  Both make the virtual environment first, if needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce test lint
reproduce: .venv/installed
	$(BIN)/python -m experiments reproduce

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
