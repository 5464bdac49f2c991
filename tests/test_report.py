"""The report: all that is stored is on the page, the page needs nothing else, and making it changes nothing."""

from __future__ import annotations

import base64
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import experiments.__main__ as command_line
from experiments.pages import tables_of
from experiments.provenance import provenance
from experiments.report import folders_with_results, report_page
from experiments.results import ResultStore, read_results
from experiments.settings import MASK_REGRESSION, PRESETS
from experiments.statistics import paired_difference
from experiments.study import Study
from tests.test_experiments import run

ROOT = Path(__file__).parent.parent
TODAY = date(2026, 1, 31)
VOID = {"meta", "img", "br", "link", "input", "hr", "col"}
HOSTILE = "<script>alert('x')</script> & \"q\""


class Page(HTMLParser):
    """Reads a page as a browser does, and refuses tags that do not balance.

    Attributes:
        tables: of each table the rows, header first, of cells.
        captions: of each table.
        attributes: (tag, name, value) of everything.
        text: all text outside style.
        tags: all that were opened.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "caption":
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "caption" in self.open:
            self.captions[-1] += data
        elif {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def values(self, tag: str, name: str) -> list[str]:
        """Of an attribute."""
        return [value for *key, value in self.attributes if key == [tag, name]]


@pytest.fixture(scope="module")
def folders() -> list[Path]:
    return folders_with_results(ROOT / "results")


@pytest.fixture(scope="module")
def html(folders: list[Path]) -> str:
    return report_page(folders, TODAY)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def stored(folder: Path, method: str = "MixRL", **changes: Any) -> Path:
    """A small comparison on two splits."""
    settings = {"No Augmentation": PRESETS["smoke"].of_baseline(), method: PRESETS["smoke"]}
    store = ResultStore(folder, Study("a study", ("no2",), (0, 1), settings), f"python -m experiments {method}")
    for number, name in enumerate(settings):
        numbers = {"val_rmse": 0.5, "test_r2": 0.4, "val_rmse_averaged": 0.5, "num_rows": 9, "trainings": 1, "seconds": 2.0}
        numbers |= {"test_rmse": 0.5 + number / 7, "test_rmse_averaged": 0.4 + number / 9}
        rows = [{"dataset": "no2", "method": name, "split_seed": split, "seed": 0, **numbers} for split in (0, 1)]
        store.add([row | {"choice": "", **changes} for row in rows])
    return folder


def test_every_table_is_on_the_page(page: Page, folders: list[Path]) -> None:
    expected = [(title, table) for folder in folders for title, table in tables_of(folder) if len(table)]
    assert len(page.tables) == 1 + len(expected)  # the summary comes first
    for caption, cells, (title, table) in zip(page.captions[1:], page.tables[1:], expected, strict=True):
        assert caption == title
        assert cells == [[*map(str, table.columns)], *table.astype(str).to_numpy().tolist()]


def test_summary_has_the_differences_and_the_paper_beside_its_own_method_alone(page: Page) -> None:
    header, *rows = page.tables[0]
    [line] = [dict(zip(header, row, strict=True)) for row in rows if row[0] == "no2-default"]
    results = read_results(ROOT / "results" / "no2-default")
    by_split = results.groupby(["method", "split_seed"])["test_rmse_averaged"].mean().unstack("method")
    best = by_split.drop(columns=MASK_REGRESSION).mean().idxmin()
    assert line["Best baseline"] == best
    for column, other in (("Difference to No Augmentation", "No Augmentation"), ("Difference to it", best)):
        assert line[column] == paired_difference(by_split[MASK_REGRESSION].tolist(), by_split[other].tolist()).text
    assert line["Paper RMSE"] == ""  # what is ours has no figure of the paper beside it
    assert [row[header.index("Paper RMSE")] for row in rows if row[0] == "algorithm-1"] == ["0.5012"]
    mean = results.loc[results["method"] == MASK_REGRESSION, "test_rmse"].mean()
    assert float(line["Test RMSE"]) == pytest.approx(mean, abs=1e-4)
    compared = {folder.name for folder in (ROOT / "results").iterdir() if (folder / "results.csv").exists()}
    assert {row[0] for row in rows} == compared


def test_the_page_loads_nothing(page: Page, html: str) -> None:
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "base"} & set(page.tags)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    for _, name, value in page.attributes:
        if name in ("src", "srcset", "poster", "data", "href", "action", "background"):
            assert value.startswith(("data:image/", "#")), value
    assert len(html.encode()) < 8_000_000


def test_figures_are_pictures_with_a_text_in_their_place(page: Page, folders: list[Path]) -> None:
    sources, texts = page.values("img", "src"), page.values("img", "alt")
    assert len(sources) == len(texts) >= len(folders)
    for source in sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        picture = ET.fromstring(base64.b64decode(data))
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) > 20
    assert "Figure fidelity of the study fidelity" in texts


def test_links_lead_somewhere_and_names_are_given_once(page: Page, folders: list[Path]) -> None:
    names = [value for _, name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    links = page.values("a", "href")
    assert len(links) == len(folders) + 1  # and the one that skips to the studies
    assert {link.removeprefix("#") for link in links} <= set(names)
    assert {value for _, name, value in page.attributes if name == "aria-labelledby"} <= set(names)
    assert page.values("html", "lang") == ["en"]


def test_settings_and_commands_are_on_the_page(page: Page, folders: list[Path]) -> None:
    for folder in folders:
        told = provenance(folder)
        for command in told.commands:
            assert command.text in page.text
            verb = command.text.removeprefix("python -m experiments ").split()[0]
            assert command.stored or callable(getattr(command_line, verb)), f"no verb {verb}"
        for group in told.groups:
            assert group.full in page.text
        if (folder / "results.csv").exists():
            assert set(read_results(folder)["command"]) == {command.text for command in told.commands}
    assert "2 methods, 1 dataset (no2), 3 random splits and 30 final trainings" in page.text


def test_settings_show_what_differs_from_the_default_preset(tmp_path: Path) -> None:
    told = provenance(ROOT / "results" / "algorithm-1")
    shared = {(setting.name, setting.value, setting.default) for setting in told.shared}
    assert shared >= {("knn_trials", "16", "null"), ("standardize_labels", "false", "true")}
    baseline, mixrl = told.groups
    assert baseline.changed == []
    assert mixrl.changed is not None
    changed = {setting.name: (setting.value, setting.default) for setting in mixrl.changed}
    assert changed["trainings"] == ("77", str(PRESETS["default"].trainings))
    assert changed["reinforce.patience"] == ("1000", "null")
    assert "final_trainings" not in changed
    own = provenance(stored(tmp_path / "own"))
    assert own.purpose == "No Augmentation and MixRL on the same splits."  # no file of that study is shipped
    assert ("regressor.max_steps", "100", "20000") in [*own.shared, *(s for group in own.groups for s in group.changed or [])]


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    folder = stored(tmp_path / "a <b>study", HOSTILE)
    html = report_page([folder], TODAY)
    page = Page(html)
    assert not {"script", "b"} & set(page.tags)
    assert [HOSTILE] in [row[:1] for table in page.tables for row in table]
    assert "a <b>study" in page.text


def test_same_results_same_page(tmp_path: Path) -> None:
    folder = stored(tmp_path / "study")
    first = report_page([folder], TODAY)
    assert report_page([folder], TODAY) == first
    assert report_page([folder], date(2027, 2, 1)) == first.replace("2026-01-31", "2027-02-01")
    assert first.count("2026-01-31") == 2
    assert report_page([folder, folder], TODAY) == first  # named twice, shown once


def test_a_table_without_rows_is_its_title(page: Page) -> None:
    assert re.search(r"Inner training on a GPU: no CUDA device was there, nothing measured\.", page.text)


def test_the_verb_replaces_the_page_and_leaves_the_results_alone(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "algorithm-1-long"
    shutil.copytree(ROOT / "results" / "algorithm-1-long", folder)
    (tmp_path / "results" / "empty").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    out = tmp_path / "new" / "page.html"
    done = run("report", "--results", tmp_path / "results", "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, str(out))
    first = out.read_text()
    assert len(Page(first).values("img", "src")) == 3
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    out.write_text("old")
    assert run("report", folder, "--out", out).returncode == 0
    assert out.read_text() == first
    assert list(out.parent.iterdir()) == [out]


def test_folders_without_results_are_one_error(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("old")
    (tmp_path / "empty").mkdir()
    good = stored(tmp_path / "good")
    done = run("report", good, tmp_path / "empty", tmp_path / "nowhere", "--out", out)
    assert done.returncode == 2
    assert done.stderr == f"error: there are no results in {tmp_path / 'empty'}, {tmp_path / 'nowhere'}\n"
    nothing = run("report", "--results", tmp_path / "empty", "--out", out)
    assert nothing.returncode == 2
    assert "holds results" in nothing.stderr
    assert out.read_text() == "old"
    into = run("report", good, "--out", tmp_path)
    assert into.returncode == 2
    assert "is a folder" in into.stderr
