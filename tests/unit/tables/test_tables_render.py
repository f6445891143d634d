"""Tables: cells measured, quoted and absent; the four forms parsed back."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from utopia.errors import ComputeError, UtopiaError
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.tables.cells import build
from utopia.tables.render import COLUMNS, render_table
from utopia.tables.results import Measurement, Results, over_repeats, repeat_means

RANDOM = "liris.reference.random"
NASTY = 'A & B_{1} <b>100 %</b> | $x$ # ~ ^ \\ "q"'


def metrics_file(
    path: Path, values: dict[tuple[str, str], float], metric: str = "mse", target: str = "valence"
) -> Path:
    """(seed, fold) -> value, with rows of items and of another metric that must not count."""
    rows = [MetricRow(target, fold, seed, "", metric, value) for (seed, fold), value in values.items()]
    noise = [MetricRow(target, fold, seed, "movie", metric, 99.0) for seed, fold in values]
    write(
        path,
        rows
        + noise
        + [MetricRow(target, "0", "0", "", "other", 99.0), MetricRow("arousal", "0", "0", "", metric, 99.0)],
    )
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two seeds, two folds: means per seed .070 and .076."""
    values = {("0", "0"): 0.06, ("0", "1"): 0.08, ("1", "0"): 0.07, ("1", "1"): 0.082}
    return metrics_file(tmp_path / "run.csv", values)


def table(**more: Any) -> dict[str, Any]:
    column = {"dataset": "liris", "target": "valence", "metric": "mse", "decimals": 3, "better": "lower"}
    return {
        "id": "t_1",
        "title": NASTY,
        "source": "ULDA, Table 9",
        "caption": "Caption.",
        "columns": [{"id": "v", "title": "V-MSE", **column}, {"id": "w", "title": "W-MSE", **column}],
        "rows": [
            {"id": "et", "title": "ET", "runs": {"v": "r1", "w": "r2"}, "published": {"v": 0.079, "w": 0.1}},
            {"id": "rmn", "title": "RMN | x", "runs": {}, "published": {"v": 0.068, "w": "-"}, "note": "a note"},
            {
                "id": "rnd",
                "title": "Random",
                "runs": {"v": RANDOM},
            },
        ],
    } | more


@pytest.fixture
def made(tmp_path: Path, run: Path) -> dict[str, str]:
    outputs = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "md", "tex", "html")}
    render_table(
        table=table(),
        runs={"r1": run, RANDOM: run},
        absent={"r2": "the data folder has no liris/"},
        not_comparable="",
        outputs=outputs,
    )
    return {kind: path.read_text(encoding="utf-8") for kind, path in outputs.items()}


def measure(*given: Any, **promised: int) -> Measurement:
    return over_repeats(repeat_means(*given, **promised))


def test_mean_over_folds_then_over_repeats(run: Path) -> None:
    found = measure([run], "valence", "mse")
    assert found.value == pytest.approx(0.073)
    assert found.std == pytest.approx(0.006 / 2**0.5)
    assert found.n == 2


def test_one_repeat_has_no_deviation(tmp_path: Path) -> None:
    path = metrics_file(tmp_path / "one.csv", {("0", "0"): 0.25, ("0", "1"): 0.75})
    assert measure([path], "valence", "mse") == Measurement(0.5, None, 1)


def test_missing_replicas_are_refused(tmp_path: Path, run: Path) -> None:
    path = metrics_file(tmp_path / "hole.csv", {("0", "0"): 0.2, ("0", "1"): 0.3, ("1", "0"): 0.2})
    with pytest.raises(ComputeError, match="3 of 4 replicas are there; missing: fold 1 repeat 1"):
        measure([path], "valence", "mse")
    with pytest.raises(ComputeError, match="4 of 6 replicas"):
        measure([run], "valence", "mse", promised=6)
    with pytest.raises(ComputeError, match="0 of the replicas"):
        measure([run], "valence", "pcc")
    with pytest.raises(ComputeError, match="stands there twice"):
        measure([run, run], "valence", "mse")
    bad = metrics_file(tmp_path / "nan.csv", {("0", "0"): float("nan")})
    with pytest.raises(ComputeError, match="is nan"):
        measure([bad], "valence", "mse")


def test_every_cell_has_a_status_and_a_reason(made: dict[str, str]) -> None:
    lines = {line["cell"]: line for line in csv.DictReader(io.StringIO(made["csv"]))}
    assert tuple(next(iter(lines.values()))) == COLUMNS
    assert list(lines) == [f"t_1/{row}/{column}" for row in ("et", "rmn", "rnd") for column in ("v", "w")]
    status = {cell: line["status"] for cell, line in lines.items()}
    assert status["t_1/et/v"] == "measured" and status["t_1/rmn/v"] == "quoted"
    assert {cell for cell, found in status.items() if found == "absent"} == {"t_1/et/w"}
    assert lines["t_1/et/w"]["reason"] == "the data folder has no liris/" and lines["t_1/et/w"]["published"] == "0.1"
    assert (status["t_1/rmn/w"], lines["t_1/rmn/w"]["reason"]) == ("dash", "the paper prints a dash")
    assert status["t_1/rnd/w"] == "blank" and lines["t_1/rnd/w"]["reason"].startswith(
        "neither the paper nor a run of ours"
    )
    assert all(line["reason"] for line in lines.values() if line["status"] not in ("measured", "quoted"))


def test_published_values_never_stand_as_ours(made: dict[str, str]) -> None:
    for line in csv.DictReader(io.StringIO(made["csv"])):
        assert bool(line["value"]) == (line["status"] == "measured")


def test_the_csv_keeps_every_digit(made: dict[str, str]) -> None:
    line = next(csv.DictReader(io.StringIO(made["csv"])))
    mean = ((0.06 + 0.08) / 2 + (0.07 + 0.082) / 2) / 2
    assert float(line["value"]) == mean and line["n"] == "2" and line["runs"] == "r1"
    assert line["verdict"] == "inside our interval" and line["verdict_reason"]


def test_markdown(made: dict[str, str]) -> None:
    text = made["md"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == "| ET | 0.073 ± 0.004 (0.079) ≈<sup>1</sup> | — (0.100)<sup>2</sup> |"
    assert rows[3] == r"| RMN \| x<sup>3</sup> | 0.068† | – |"
    assert rows[4] == "| Random | 0.073 ± 0.004<sup>1</sup> |  |"
    assert "2. the data folder has no liris/\n3. a note\n" in text
    assert "1. No interval: the number of frames of each item is not at hand" in text
    assert "† quoted from the publication" in text and "<b>" not in text and r"\_" in text


def test_latex_is_escaped_and_balanced(made: dict[str, str]) -> None:
    text = made["tex"]
    assert r"A \& B\_\{1\} \textless{}b\textgreater{}100 \%" in text
    full, compact = text.split(r"\else")
    assert r"\raggedright ET & $0.073$ & {\scriptsize$\,\pm\,$0.004}\,$\approx$ & --- & $^{1}$ \\" in compact
    assert r"$0.073$ & {\scriptsize$\,\pm\,$0.004} & $0.079$ & $\approx$ \\*" in full and "$0.079$" not in compact
    assert r"$0.068$ & $^\dagger$" in compact
    body = text.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    for name, form in (("table", compact), ("tabular", compact), ("longtable", full)):
        assert form.count(f"\\begin{{{name}}}") == form.count(f"\\end{{{name}}}") == 1
    assert [r"\toprule" in text, r"\midrule" in text, r"\bottomrule" in text] == [True] * 3
    assert text.replace(r"\$", "").count("$") % 2 == 0
    assert text.isascii()


class _Page(HTMLParser):
    """Collects the structure of a page and refuses tags that do not nest."""

    void = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_escaped_nested_and_labelled(made: dict[str, str]) -> None:
    page = _Page(made["html"])
    tags = [tag for tag, _ in page.seen]
    assert "b" not in tags and tags.count("caption") == 1
    assert sorted(attrs.get("scope") or "" for tag, attrs in page.seen if tag == "th") == ["col"] * 2 + ["row"] * 3
    links = {attrs["href"] for tag, attrs in page.seen if tag == "a"}
    anchors = {f"#{attrs['id']}" for tag, attrs in page.seen if tag == "li"}
    assert links == anchors and len(links) == 3
    assert "prefers-color-scheme: dark" in made["html"]
    assert "http" not in made["html"], "the page must not load anything"


def test_same_inputs_same_bytes(tmp_path: Path, run: Path, made: dict[str, str]) -> None:
    again = {kind: tmp_path / f"again.{kind}" for kind in made}
    render_table(
        table=table(),
        runs={RANDOM: run, "r1": run},
        absent={"r2": "the data folder has no liris/"},
        not_comparable="",
        outputs=again,
    )
    assert {kind: path.read_text(encoding="utf-8") for kind, path in again.items()} == made


def test_not_comparable_is_said_for_all_or_for_one_run(run: Path) -> None:
    runs = {"r1": run, "r2": run, RANDOM: run}
    cells = {cell.cell: cell for cell in build(table(), Results(runs, {}, "generated miniature data"))}
    assert cells["t_1/et/v"].verdict == "not comparable"
    assert cells["t_1/rnd/v"].verdict_reason == "generated miniature data"
    cells = {cell.cell: cell for cell in build(table(), Results(runs, {}, {"r1": "other features, 14 of 25 videos"}))}
    assert cells["t_1/et/v"].verdict_reason == "other features, 14 of 25 videos"
    assert cells["t_1/et/w"].verdict.startswith("outside by") or cells["t_1/et/w"].verdict == "inside our interval"
    assert cells["t_1/rnd/v"].verdict == "not in the paper" and cells["t_1/rnd/v"].verdict_reason == ""


def test_a_printed_dash_beside_a_measured_value(run: Path) -> None:
    one = table(rows=[{"id": "et", "title": "ET", "runs": {"v": "r1", "w": "r1"}, "published": {"v": "-", "w": None}}])
    cells = build(one, Results({"r1": run}, {}))
    assert [cell.verdict for cell in cells] == ["not in the paper"] * 2 and cells[0].published is None
    assert [cell.verdict_reason for cell in cells] == ["it prints a dash", ""]


def test_groups_and_keys_in_every_form(tmp_path: Path, run: Path) -> None:
    """A heading above the first row of each group, printed settings in columns of their own, blanks left blank."""
    usual = {"group": "ET_1 [31]", "runs": {"v": "r1"}, "published": {"v": 0.079}}
    rows = [
        {"id": "a", "title": "w/o", "name": "ET_1 [31]: w/o", **usual},
        {"id": "b", "title": "", "name": "ET_1 [31]: σ = 0.02", "keys": {"sigma": "0.02"}, "against": "a", **usual},
        {"id": "c", "title": "w/o", "name": "RMN: w/o", **usual | {"group": "RMN"}},
    ]
    outputs = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "md", "tex", "html")}
    keys = [{"id": "sigma", "title": "σ"}]
    render_table(table=table(rows=rows, keys=keys), runs={"r1": run}, absent={}, outputs=outputs)
    text = {kind: path.read_text(encoding="utf-8") for kind, path in outputs.items()}
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text["md"].splitlines()
        if line.startswith("|")
    ]
    assert lines[0] == ["", "σ", "V-MSE ↓", "W-MSE ↓"] and {len(line) for line in lines} == {4}
    assert [line[0].split("<")[0] for line in lines[2:]] == [r"**ET\_1 \[31\]**", "w/o", "", "**RMN**", "w/o"]
    assert [line[1] for line in lines[2:]] == ["", "", "0.02", "", ""] and {line[3] for line in lines[2:]} == {""}
    page = _Page(text["html"])
    heads = [attrs for tag, attrs in page.seen if tag == "th" and attrs.get("scope") == "rowgroup"]
    assert [head["colspan"] for head in heads] == ["4", "4"] and text["html"].count('class="key">0.02</th>') == 1
    body = text["tex"].split(r"\midrule")[-1].split(r"\bottomrule")[0].strip().splitlines()
    assert body[0].strip() == r"\multicolumn{4}{@{}l@{}}{\textit{ET\_1 [31]}} \\"
    assert body.count(r"    \addlinespace") == 1 and "rr@{}l@{}" in text["tex"] and text["tex"].isascii()
    rows = [line for line in body if "multicolumn" not in line and "addlinespace" not in line]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {3}
    assert "Without values, and not shown: W-MSE" in text["tex"]
    names = [line["name"] for line in csv.DictReader(io.StringIO(text["csv"]))]
    assert names[::2] == ["ET_1 [31]: w/o", "ET_1 [31]: σ = 0.02", "RMN: w/o"]
    assert "better than" not in text["md"] or "better than ET" in text["md"]


def test_a_run_is_made_or_declared_absent(run: Path) -> None:
    with pytest.raises(ComputeError, match="run r2 of cell t_1/et/w is neither made nor declared absent"):
        build(table(), Results({"r1": run}, {}))


def test_only_known_forms(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UtopiaError, match="no form 'xlsx'"):
        render_table(table=table(rows=[]), runs={}, absent={}, not_comparable="", outputs={"xlsx": tmp_path / "t.xlsx"})
