"""One HTML page of stored results that opens offline: settings, tables and figures of each study."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.pages import draw_stored, tables_of
from experiments.runner.store import STUDY_FILE, read_results
from mixrl.files import write_bytes

_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
caption { text-align: left; padding: 1.2em 0 .3em; font-weight: 600 }
th, td { padding: .15em .8em .15em 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
img { max-width: 100% }
pre { background: #f5f5f5; padding: .7em; overflow-x: auto }"""


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write the page of some results folders.

    Args:
        folders: of studies, in the order of the page.
        out: the page to write.

    Raises:
        ValueError: if a folder holds no results, or `out` is a folder.
    """
    if out.is_dir():
        raise ValueError(f"{out} is a folder; --out takes the name of a page, such as {out / 'report.html'}")
    sections = [_section(folder) for folder in folders]
    links = " · ".join(f'<a href="#{html.escape(folder.name)}">{html.escape(folder.name)}</a>' for folder in folders)
    page = f"<!doctype html><meta charset=utf-8><title>MixRL: stored results</title><style>{_STYLE}</style>"
    page += f"<h1>MixRL: stored results</h1><p>{links}</p>{''.join(sections)}\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(page.encode(), out)


def _section(folder: Path) -> str:
    name, results = html.escape(folder.name), read_results(folder)
    commands = dict.fromkeys(f"{record.command}  # mixrl {record.version}" for record in results.records)
    parts = [f'<h2 id="{name}">{name}</h2>']
    parts += [f"<pre>{html.escape(text)}</pre>" for text in ("\n".join(commands), (folder / STUDY_FILE).read_text())]
    for title, table in tables_of(folder):
        rows = table.to_html(index=False, border=0)
        parts.append(rows.replace("<thead>", f"<caption>{html.escape(title)}</caption><thead>", 1))
    with tempfile.TemporaryDirectory() as out:
        for path in draw_stored(folder, Path(out)):
            data = base64.b64encode(path.read_bytes()).decode()
            parts.append(f'<p><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}"></p>')
    return "\n".join(parts)
