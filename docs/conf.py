"""The documentation as a site: `make docs` builds it with Sphinx from the Markdown files of the repository.

The source folder is the repository itself, so that a link between two files works here and where the files are read as
they are. What is no page (code, configuration) is offered as a file; a folder is named, not linked.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "workflow" / "resources" / "figures"
TRACKED = ROOT / "results" / "reference"
"""What `make reference` keeps: a folder per study."""

project = "Utopia"
version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
copyright = "the Utopia developers, MIT licence"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**.md"]
exclude_patterns = [
    ".venv",
    ".git",
    ".ci",
    ".github",
    ".snakemake",
    "results",
    "_site",
    "tests",
    "workflow",
    "benchmarks",
]
suppress_warnings: list[str] = []
nitpicky = True

myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"Utopia {version}"
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"source_edit_link": "", "sidebar_hide_name": False}
html_static_path: list[str] = []

_LINK = re.compile(r"\[([^\]\[]*)\]\(([^)#:\s]+)\)")


def _without_folders(app: Sphinx, name: str, source: list[str]) -> None:
    """Name a folder instead of linking to it; a site has no pages of folders. Lead from README to the first page."""
    here = Path(app.env.doc2path(name)).parent

    def named(match: re.Match[str]) -> str:
        target = (here / match[2]).resolve()
        if target == ROOT / "README.md":
            return f"[{match[1]}]({os.path.relpath(ROOT / 'docs' / 'index.md', here)})"
        return match[1] if target.is_dir() else match[0]

    source[0] = _LINK.sub(named, source[0])


class Gallery(SphinxDirective):
    """All tables and figures of the tracked studies, read from results/reference when the site is built."""

    def run(self) -> list[nodes.Node]:
        """The page's parts, or one sentence where no study is tracked."""
        studies = sorted(path.parent for path in TRACKED.glob("*/tables"))
        if not studies:
            text = "No study is tracked in this copy of the repository: `make reference STUDY=miniature` adds one."
            return self.parse_text_to_nodes(text)
        return self.parse_text_to_nodes("\n".join(self._lines(studies)), allow_section_headings=True)

    def _lines(self, studies: list[Path]) -> Iterator[str]:
        """Markdown of all studies: figures, then tables."""
        for folder in studies:
            yield f"## Study {folder.name}\n"
            for picture in sorted((folder / "figures").glob("*.png")):
                title = yaml.safe_load((FIGURES / f"{picture.stem}.yaml").read_text(encoding="utf-8"))["title"]
                yield f"### {picture.stem}\n\n{title}\n"
                yield f"![{title}](/{picture.relative_to(ROOT).as_posix()})\n"
            for table in sorted((folder / "tables").glob("*.md")):
                self.env.note_dependency(str(table))
                text = table.read_text(encoding="utf-8").split("\n", 2)
                yield f"### {table.stem}\n\n{text[0].removeprefix('# ')}\n\n{text[2]}\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx asks of an extension."""
    app.add_directive("gallery", Gallery)
    app.connect("source-read", _without_folders)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
