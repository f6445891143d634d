"""The page of a study: all tables and figures in one HTML file that shows where each number comes from.

The file needs nothing beside it and asks for nothing: styles, scripts, pictures and the ancestry are in it, and its
content security policy forbids everything else. What comes from data is escaped in the markup (autoescape), and the
script writes texts only, never markup.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from utopia import files
from utopia.config.load import RESOURCES
from utopia.errors import UtopiaError
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph
from utopia.report.cells import KINDS
from utopia.report.data import Page, gather

FOLDER = RESOURCES / "page"
SCRIPTS = ("store.js", "draw.js", "curves.js", "panel.js", "filter.js", "tables.js", "page.js")
"""In the order in which they are joined."""
BUDGET = 2 * 1024 * 1024
"""Bytes of a page without its pictures."""
ANCESTRY = '<script type="application/gzip" id="ancestry">'
"""The element that holds what the script shows."""
COLOURS = 14
"""Of a picture, chosen so that no colour is far from its own: lines and letters with smooth edges need no more."""


def render_page(
    *,
    ledger: Ledger,
    root: str,
    study: str,
    tables: Sequence[str],
    figures: Sequence[str],
    output: Path,
    rule: str = "",
) -> Page:
    """Write the page; the same records and files give the same bytes.

    Args:
        ledger: all records of the study.
        root: the study's folder as records write it.
        study: its name.
        tables: ids of the tables, in the order in which they are shown.
        figures: likewise.
        output: the file.
        rule: the rule that makes the page, whose former record is passed over.

    Returns:
        What the page shows.

    Raises:
        UtopiaError: a table or figure has no record, a file cannot be read, or the page would break its own rules.
    """
    page = gather(Graph(ledger, root), study, tables, figures, apart_from=rule)
    files.write_text(output, html(page))
    return page


def html(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"bytes": size_in_words, "duration": duration_in_words}
    # The page shows an interval and a published value in another way than tables in print.
    environment.tests["in_brackets"] = lambda text: text.startswith(("[", "("))
    pictures = {figure.id: picture(figure.image) for figure in page.figures}
    style = _part("page.css")
    script = '"use strict";\n(async () => {\n' + "\n".join(_part(name) for name in SCRIPTS) + "})();\n"
    text = environment.get_template("page.html.jinja").render(
        page=page,
        kinds=KINDS,
        style=_verbatim(style, "style"),
        script=_verbatim(script, "script"),
        policy=policy(script, style),
        data=packed(page.data),
        pictures=pictures,
    )
    start, _, rest = text.partition("<body>")
    markup, element, rest = rest.partition(ANCESTRY)
    text = start + "<body>" + re.sub(r"\n[ \n]+", "\n", markup) + element + rest  # blanks of the template
    without = len(text.encode()) - sum(len(data) for data in pictures.values())
    if without > BUDGET:
        print(f"note: the page has {without} bytes without its pictures, more than the {BUDGET} that it should have")
    return text


def cards(ledger: Ledger) -> list[Path]:
    """The files that tell licences and sources of raw files: the cards, and what `utopia fetch` has noted."""
    cards_of_code = [path for kind in ("datasets", "weights") for path in sorted((RESOURCES / kind).glob("*.yaml"))]
    fetched = [folder / "fetched.json" for name, folder in ledger.portable.roots.items() if name == "data"]
    return [*cards_of_code, *(path for path in fetched if path.is_file())]


def policy(script: str, style: str) -> str:
    """The content security policy: this script, this style, pictures inside the page, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def packed(value: Mapping[str, Any]) -> Markup:
    """JSON, compressed (gzip) and in base64: a third of its size, and no character of it means anything in HTML."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Markup(base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode())


def unpacked(page: str) -> dict[str, Any]:
    """What `packed` put into a page.

    Raises:
        UtopiaError: it is not in the text.
    """
    packed = re.search(f"{ANCESTRY}([A-Za-z0-9+/=]*)</script>", page)
    if packed is None:
        raise UtopiaError("the page has no element `ancestry`", remedy="make the page again")
    value: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return value


def picture(path: Path) -> str:
    """A drawing as an address that holds it: its PNG in few colours, without loss (WebP), a quarter of the size.

    Raises:
        UtopiaError: it is no PNG.
    """
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UtopiaError("not a PNG", where=path, remedy="draw the figure again")
    drawn = (
        Image.open(io.BytesIO(content))
        .convert("RGB")
        .quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    smaller = io.BytesIO()
    drawn.convert("RGB").save(smaller, format="WEBP", lossless=True, quality=100, method=4)
    return f"data:image/webp;base64,{base64.b64encode(smaller.getvalue()).decode()}"


def size_in_words(size: int) -> str:
    """Bytes for people: `12.3 MB`."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"


def duration_in_words(seconds: float) -> str:
    """Seconds for people: `12 s`, `34 min`, `5.6 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _part(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _verbatim(text: str, element: str) -> Markup:
    """Our own script or style, as it stands: its hash is in the policy."""
    if f"</{element}" in text.lower() or "<!--" in text:
        raise UtopiaError(f"a {element} must not hold the end of its own element", where=FOLDER)
    return Markup(text)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
