"""The documentation as a site: built strictly and without a network; with a search, and a gallery of results."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import copy_tracked

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("myst_parser") is None,
    reason="Sphinx and MyST are not installed here (`make setup` installs them)",
)
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//", re.IGNORECASE)
"""What a browser would load from elsewhere by itself; links to follow are fine."""


def build(source: Path, output: Path, *more: str) -> str:
    """Build strictly; what Sphinx said."""
    words = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(output) + ".trees", "-c", str(source / "docs"), *more]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(source), str(output)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site") / "html"
    build(repository, output)
    return output


def test_every_page_is_in_it_and_the_first_leads_on(site: Path, repository: Path) -> None:
    pages = {path.relative_to(repository).with_suffix(".html") for path in (repository / "docs").rglob("*.md")}
    assert len(pages) > 25
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


def test_it_needs_no_network(site: Path) -> None:
    guilty = [str(path.relative_to(site)) for path in site.rglob("*.html") if LOADED.search(path.read_text())]
    assert guilty == []
    assert LOADED.search('<script async src="https://cdn.example/x.js">') and not LOADED.search(
        '<a href="https://x.y">'
    )


def test_the_search_knows_words_of_the_pages(site: Path) -> None:
    """The index is a script, which a browser also loads from a file."""
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    for word in ("label_annot", "snakemak", "slurm", "butterworth"):
        assert word in index, word


def gallery(source: Path, output: Path) -> str:
    """The page of the gallery, built alone."""
    build(source, output, "-D", "root_doc=docs/gallery", "-D", "include_patterns=docs/gallery.md")
    return (output / "docs" / "gallery.html").read_text(encoding="utf-8")


def test_the_gallery_shows_what_is_tracked_and_says_so_where_nothing_is(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_tracked(repository, copy)
    shutil.rmtree(copy / "results", ignore_errors=True)
    assert "No study is tracked in this copy" in gallery(copy, tmp_path / "empty")

    study = copy / "results" / "reference" / "tiny"
    for folder in ("tables", "figures"):
        (study / folder).mkdir(parents=True)
    rows = (
        "# One table\n\nWhat it says.\n\n|  | MSE |\n| :--- | ---: |\n| ET | 0.08<br>\\[0.07, 0.09\\]<sup>1</sup> |\n"
    )
    (study / "tables" / "ulda_table_1.md").write_text(rows)
    shutil.copy(
        next((Path(sys.prefix) / "lib").rglob("site-packages/matplotlib/**/*.png")), study / "figures/ulda_figure_4.png"
    )
    page = gallery(copy, tmp_path / "full")
    assert "Study tiny" in page and "One table" in page and "0.08<br>" in page
    shown = re.search(r'<img[^>]*src="\.\./(_images/ulda_figure_4\.png)"', page)
    assert shown and (tmp_path / "full" / shown[1]).is_file()
