"""How the documentation is built: make docs. Pages are Markdown; the API reference comes from the docstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import mixrl_env

ROOT = Path(__file__).parent.parent

project = "MixRL"
release = mixrl_env.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [  # Sphinx knows no other project, so that it builds without a network
    ("py:(class|exc)", ".*"),  # types as they stand in the source: links where they are ours and no alias
    ("py:obj", "BernoulliDistribution"),
]
myst_heading_anchors = 3
nb_execution_mode = "off"  # it is shown with the outputs that are stored in it
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "MixRL"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # written below as they stand in the source
autodoc_preserve_defaults = True
napoleon_use_rtype = False


class SourceLinks(SphinxTransform):
    """Links to Python files, which lead to the file in a checkout, lead to its page of source code here."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replace what would be downloads."""
        for link in list(self.document.findall(addnodes.download_reference)):
            path = (Path(self.env.srcdir) / self.env.relfn2path(link["reftarget"])[0]).resolve()
            if path.suffix == ".py":
                module = path.relative_to(ROOT).with_suffix("").as_posix()
                top = "../" * self.env.current_document.docname.count("/")
                link.replace_self(nodes.reference("", "", *link.children, refuri=f"{top}_modules/{module}.html"))


def fill_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the docstring of a class, which is Markdown, in the place of <!-- docstring: CLASS -->; public names become links."""

    def docstring(match: re.Match[str]) -> str:
        text = inspect.getdoc(getattr(mixrl_env, match[1])) or ""
        return re.sub(rf"`({'|'.join(mixrl_env.__all__)})`", r"[`\1`](#mixrl_env.\1)", text)

    source[0] = re.sub(r"<!-- docstring: (\w+) -->", docstring, source[0])


def add_types(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give arguments and attributes in Google style the types of the annotations, as written in the source."""
    types = getattr(obj, "__annotations__", {}) | getattr(getattr(obj, "__init__", None), "__annotations__", {})
    for index, line in enumerate(lines):
        argument = re.match(r"    (\*{0,2}(\w+)): ", line)
        if argument and argument[2] in types:
            written = getattr(types[argument[2]], "__forward_arg__", types[argument[2]])  # as a NamedTuple keeps it
            lines[index] = f"    {argument[1]} ({written}): {line[argument.end() :]}"


def as_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make reStructuredText of docstrings, which are plain text with `names`: these become links or code."""
    lines[:] = [re.sub(r"`([^`]+)`|([*|\\]|_\b)", _mark, line) for line in lines]
    if "## Description" in lines:  # the other sections are the page of the environment
        page = {mixrl_env.MixRLEnv: "environment", mixrl_env.MixRLTablesEnv: "tables"}[obj]
        lines[:] = [*lines[: lines.index("## Description")], f"All of it: :doc:`/{page}`.", ""]
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # or else napoleon takes what stands before a colon for a type


def _mark(match: re.Match[str]) -> str:
    code, mark = match.groups()
    if mark:
        return "\\" + mark
    public = re.fullmatch(r"(?:mixrl_env|mixrl)\.[\w.]+|[A-Z]\w*[a-z]\w*(?:\.\w+)*", code)
    return f":py:obj:`{code}`" if public else f"``{code}``"


def returned_type(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str | None]:
    """The type that a function returns, as written in the source, behind its signature."""
    return signature, getattr(obj, "__annotations__", {}).get("return") if what in ("function", "method") else None


def skip_inherited(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn puts into every class."""
    return True if str(getattr(obj, "__module__", "")).startswith("sklearn.") else None


def setup(app: Sphinx) -> None:
    """Connect the above; docstrings before napoleon reads their sections."""
    app.add_transform(SourceLinks)
    app.connect("source-read", fill_page)
    app.connect("autodoc-process-docstring", add_types, priority=300)
    app.connect("autodoc-process-docstring", as_rst, priority=400)
    app.connect("autodoc-process-signature", returned_type)
    app.connect("autodoc-skip-member", skip_inherited)
