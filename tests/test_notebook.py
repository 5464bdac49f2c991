"""The notebook of the tutorial runs from top to bottom, with fewer folds and plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"


def printed(notebook: Any) -> list[str]:
    """What every cell of code prints, without its figures."""
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in code(notebook)]


def kinds(notebook: Any) -> list[list[set[str]]]:
    return [[set(output.get("data", ())) for output in cell.outputs] for cell in code(notebook)]


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def ran() -> Any:
    """Run in a kernel of its own; an error in a cell is one here."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in code(notebook):
        cell.source = cell.source.replace("cv=3", "cv=2, time_budget=1")
    return NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()


def test_notebook_runs(ran: Any) -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    assert kinds(ran) == kinds(stored)  # tables, pictures
    # What is chosen may differ from machine to machine, since so do the last digits of a network.
    assert [text.count("\n") for text in printed(ran)] == [text.count("\n") for text in printed(stored)]


def test_stored_notebook_is_of_one_run() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.execution_count for cell in code(stored)] == list(range(1, len(code(stored)) + 1))
    assert all(cell.outputs for cell in code(stored))
    assert all(
        output.output_type != "error" and output.get("name") != "stderr" for cell in code(stored) for output in cell.outputs
    )
