"""Claims of the texts: the papers' own numbers through our functions, and values of ours by hand."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from utopia.config.load import RESOURCES, load
from utopia.errors import ConfigError
from utopia.evaluation import verdict
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.plan import catalog, claims
from utopia.plan.catalog import Table, read_one
from utopia.plan.claims import Claim, in_print
from utopia.plan.plan import Plan
from utopia.tables.cells import build, measured, runs_behind
from utopia.tables.results import Measurement, Results

TABLES = catalog.tables()
CLAIMS: dict[str, Claim] = {row.id: row.claim for row in TABLES["paper_claims"].rows if row.claim is not None}
ODDITIES = {"u.intro.datasets", "u.t6.all", "u.t7.cwl", "u.t7.tns"}
"""Statements that the printed tables do not support, as `resources/published/README.md` lists them."""


def printed(name: str) -> dict[tuple[str, str], float]:
    """A table of the transcription, which the catalogue is no part of."""
    with (RESOURCES / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return {
            (line["row"], line["column"]): float(line["printed"].replace("-", "nan")) for line in csv.DictReader(file)
        }


def in_text() -> dict[str, dict[str, str]]:
    with (RESOURCES / "published" / "claims.csv").open(encoding="utf-8", newline="") as file:
        return {line["claim"]: line for line in csv.DictReader(file)}


def test_every_statement_that_follows_from_tables_is_checked() -> None:
    derived = {name for name, line in in_text().items() if re.match("Tables? ", line["derived_from"])}
    assert len(derived) >= 28
    for name in derived:
        assert any(own == name or own.startswith(f"{name}.") for own in CLAIMS), name
    added = {name for name in CLAIMS if not any(name == own or name.startswith(f"{own}.") for own in derived)}
    assert added == {"u.t7.best", "u.t7.cwl", "u.t7.tns", "u.t9.best", "e.t1.a", "e.t1.b"} - derived


def test_what_is_said_is_what_the_transcription_of_the_text_has() -> None:
    text = in_text()
    for name, claim in CLAIMS.items():
        if claim.number is not None:
            assert claim.number == float(text[name]["value"]), name
        elif claim.settings is not None and name in text:
            assert claim.said.removesuffix("s") == text[name]["value"], name


@pytest.mark.parametrize("name", CLAIMS)
def test_the_printed_tables_bear_the_text_out_but_for_the_listed_oddities(name: str) -> None:
    claim = CLAIMS[name]
    assert in_print(claim, TABLES).agrees == (name not in ODDITIES)
    assert bool(claim.oddity) == (name in ODDITIES), "an oddity says how"


def test_the_ten_gains_by_hand() -> None:
    """ULDA sec. 4.4 from the transcription of Tables 1 and 2, in plain arithmetic: eight are relative, two absolute."""
    one, two = printed("ulda_table_1"), printed("ulda_table_2")
    models = {"cwl": ("et", "pgl_sum", "rmn"), "tns": ("et", "pgl_sum")}
    gains = [name for name, claim in CLAIMS.items() if claim.gain is not None]
    assert len(gains) == 10
    for name in gains:
        _, treatment, metric, target = name.split(".")
        row = {"cwl": "cwl", "tns": "tns_cwl"}[treatment]
        changes = []
        for model in models[treatment]:
            if metric == "f":
                column = f"{target}.f_score"
                changes.append(two[f"{model}.{row}", column] - two[f"{model}.baseline", column])
            else:
                column, sign = f"{target}.{metric}", {"mse": -1, "pcc": 1}[metric]
                base = one[f"{model}.baseline", column]
                changes.append(sign * 100 * (one[f"{model}.{row}", column] - base) / base)
        expected = sum(changes) / len(changes)
        number = CLAIMS[name].number
        assert number is not None and abs(expected - number) < 0.06, "the text says about"
        assert in_print(CLAIMS[name], TABLES).text.split()[0] == f"{expected:.2f}"


def test_gains_of_the_wrong_kind_would_not_agree() -> None:
    """F-scores taken relatively, as they once were, give 7.2 and 5.6, and MSE taken absolutely gives .0103."""
    other = {"relative": "points", "points": "relative"}
    columns = [column.model_copy(update={"change": other[column.change]}) for column in TABLES["ulda_claims"].columns]
    swapped = TABLES | {"ulda_claims": TABLES["ulda_claims"].model_copy(update={"columns": columns})}
    texts = {name: in_print(claim, swapped) for name, claim in CLAIMS.items() if claim.gain is not None}
    assert not any(said.agrees for said in texts.values())
    assert (texts["u.tns.f.summe"].text, texts["u.tns.f.tvsum"].text) == ("7.18 %", "5.63 %")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.intro.tasks", "2 of 2"), ("u.intro.datasets", "2 of 3"), ("u.best.liris", "3 of 4"),
        ("u.t3.best", "11 of 12"), ("u.t4.et", "4 of 4"), ("u.t4.pgl.valence", "2 of 2"), ("u.t6.all", "14 of 16"),
        ("u.t7.cwl", "11 of 12"), ("u.t7.tns", "5 of 8"), ("e.place", "1 of 1"), ("e.teams", "5"), ("e.t1.b", "360"),
    ],
)  # fmt: skip
def test_counts_by_eye(name: str, text: str) -> None:
    assert in_print(CLAIMS[name], TABLES).text == text


def test_a_printed_value_that_changes_changes_what_print_says() -> None:
    worse = {name: table.model_copy(deep=True) for name, table in TABLES.items()}
    row = next(row for row in worse["ulda_table_4"].rows if row.id == "et.tns_cwl")
    row.published["valence.pcc"] = 0.400
    assert not in_print(CLAIMS["u.t4.et"], worse).agrees
    with pytest.raises(ConfigError, match=r"et with tns_cwl must have one printed value .*found 2"):
        in_print(CLAIMS["u.tns.pcc.valence"], worse)


def test_claims_need_no_runs_of_their_own() -> None:
    plan = Plan(load({"study": "miniature"}))
    own = {run.id for cell in plan.cells if cell.table == "paper_claims" for run in cell.runs}
    others = {run.id for cell in plan.cells if cell.table != "paper_claims" for run in cell.runs}
    assert own and own <= others
    rows = {row["id"]: row for row in plan.table_settings("paper_claims")["table"]["rows"]}
    assert rows["u.t6.all"]["keys"] == {"section": "4.6.3", "said": "all", "print": "14 of 16", "agrees": "no"}
    assert "falls at T = 5" in rows["u.t6.all"]["note"]
    gain = rows["u.cwl.mse.valence"]
    assert len(gain["changes"]["ours"]) == 3 and gain["published"] == {"ours": 11.7}
    assert gain["as"]["ours"] == {"decimals": 1, "published_repeats": 3, "dataset": "liris", "target": "valence",
                                  "metric": "mse", "better": "lower", "change": "relative"}  # fmt: skip
    assert rows["e.place"]["claims"] == {} and rows["e.test"]["published"] == {"ours": 0.0443}


# -- values of ours


def settings(**claim: Any) -> dict[str, Any]:
    """A table of claims with one row: `a` and `b` are measured (lower is better), `c` is quoted with .5."""
    cells = {
        f"t/{name}/v": {"run": f"d.{name}.x" if name != "c" else None, "published": 0.5, "target": "y", "metric": "mse"}
        for name in "abc"
    }
    usual = {"of": "t/a/v", "others": ["t/b/v", "t/c/v"], "kind": "best", "better": "lower", "place": 1, "part": ""}
    given = {"tests": [{**usual, "within": 0.0, **test} for test in claim["tests"]], "share": claim.get("share", 1.0)}
    row = {"id": "r", "title": "R", "claims": {"ours": given | {"cells": cells}}, "as": {"ours": {"decimals": 0}}}
    return {
        "id": "k",
        "title": "K",
        "seed": 0,
        "columns": [{"id": "ours", "title": "Ours", "decimals": 3}],
        "rows": [row],
    }


def results(tmp_path: Path, a: list[float], b: list[float], **more: Any) -> Results:
    files = {}
    for name, values in (("a", a), ("b", b)):
        files[f"d.{name}.x"] = tmp_path / f"{name}.csv"
        write(
            files[f"d.{name}.x"],
            [MetricRow("y", "0", str(seed), "", "mse", value) for seed, value in enumerate(values)],
        )
    return Results(files, {}, **more)


@pytest.mark.parametrize(
    ("test", "passed"),
    [
        ({}, 1),  # .2 is the least of .2, .4, .5
        ({"better": "higher"}, 0),
        ({"better": "higher", "place": 3}, 1),
        ({"of": "t/b/v", "others": ["t/a/v", "t/c/v"], "place": 2}, 1),
        ({"kind": "better", "others": ["t/c/v"]}, 1),
        ({"kind": "better", "others": ["t/a/v"]}, 0),  # not better than itself
        ({"kind": "near", "others": ["t/b/v"], "within": 0.2}, 1),
        ({"kind": "near", "others": ["t/b/v"], "within": 0.19}, 0),
    ],
)
def test_a_comparison_of_ours_by_hand(tmp_path: Path, test: dict[str, Any], passed: int) -> None:
    ours = results(tmp_path, [0.1, 0.3], [0.4, 0.4])
    (made,) = build(settings(tests=[test]), ours)
    assert (made.value, made.unit, made.n, made.status, made.decimals) == (passed, "of 1", 2, "measured", 0)
    assert made.verdict == (verdict.HOLDS if passed else verdict.FAILS)
    assert set(made.runs) == {"d.a.x", "d.b.x"} and made.low is None and made.std is None
    row = settings(tests=[test])["rows"][0]
    assert measured(settings(tests=[test]), row, settings(tests=[test])["columns"][0], ours) == Measurement(
        passed, None, 2
    )


def test_repeats_that_disagree_are_counted(tmp_path: Path) -> None:
    """Means .2 and .25: a is better, but only on the first of two repeats."""
    (made,) = build(settings(tests=[{"others": ["t/b/v"]}]), results(tmp_path, [0.0, 0.4], [0.4, 0.1]))
    assert made.verdict == verdict.HOLDS and "1 of 1 comparisons, and so in 1 of 2 repeats" in made.verdict_reason


def test_a_share_of_the_tests_is_enough_where_the_text_says_almost_all(tmp_path: Path) -> None:
    three = [{"others": ["t/b/v"]}, {"others": ["t/c/v"]}, {"of": "t/b/v", "others": ["t/a/v"]}]
    ours = results(tmp_path, [0.1, 0.3], [0.4, 0.4])
    (strict,), (mild,) = (build(settings(tests=three, share=share), ours) for share in (1.0, 0.6))
    assert (strict.value, strict.unit) == (mild.value, mild.unit) == (2, "of 3")
    assert (strict.verdict, mild.verdict) == (verdict.FAILS, verdict.HOLDS)
    parts = [test | {"part": part} for test, part in zip(three, ("one", "one", "two"), strict=True)]
    (halves,) = build(settings(tests=parts), ours)
    assert (halves.value, halves.unit) == (1, "of 2")


def test_a_claim_with_a_hole_or_other_data_says_so(tmp_path: Path) -> None:
    ours = results(tmp_path, [0.1, 0.3], [0.4, 0.4], not_comparable="generated miniature data")
    (made,) = build(settings(tests=[{}]), ours)
    assert made.value == 1 and (made.verdict, made.verdict_reason) == ("not comparable", "generated miniature data")
    each = {"d.a.x": "generated miniature data; 9 of 10 labelled items", "d.b.x": "generated miniature data"}
    (made,) = build(settings(tests=[{}]), results(tmp_path, [0.1], [0.4], not_comparable=each))
    assert made.verdict_reason == "generated miniature data; 9 of 10 labelled items", "each reason once"
    holes = Results({"d.a.x": ours.metrics["d.a.x"]}, {"d.b.x": "no videos"})
    (made,) = build(settings(tests=[{}]), holes)
    assert (made.status, made.reason, made.value) == ("absent", "no videos", None)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("{section: s, said: x}", "name exactly one of"),
        ("{section: s, said: x, value: a/b/c, rows_of: t}", "name exactly one of"),
        ("{section: s, said: x, best: {tables: [], rows: [a]}}", "best"),
        ("{section: s, said: x, rows_of: t}\n  published: {v: 1.0}", "is in it, not in `published`"),
    ],
)
def test_faults_of_a_claim_are_refused_with_their_line(tmp_path: Path, claim: str, said: str) -> None:
    path = tmp_path / "t.yaml"
    head = yaml.safe_dump({"title": "T", "source": "S", "caption": "C"})
    head += "columns:\n- {id: v, title: V, decimals: 1, better: higher}\nrows:\n"
    path.write_text(f"{head}- id: a\n  title: A\n  claim: {claim}\n")
    with pytest.raises(ConfigError, match=said) as caught:
        read_one(path, Table)
    assert re.search(r"t\.yaml:\d+: ", str(caught.value))


def test_claims_name_cells_that_exist() -> None:
    for broken in (
        Claim(section="s", said="1", value="ulda_table_1/et.cwl/no"),
        Claim(section="s", said="x", best={"tables": ["ulda_table_1"], "rows": ["et.no"]}),  # type: ignore[arg-type]
        Claim(section="s", said="x", better={"tables": ["ulda_table_1"], "rows": ["gla"]}),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="claim of the catalogue"):
            in_print(broken, TABLES)
    assert claims.passes({"of": "a", "others": ["b"], "kind": "near", "within": 0.3}, {"a": 67.3, "b": 67.6}.get)


def test_the_runs_of_a_statement_stand_in_one_order_however_its_cells_do() -> None:
    """A record keeps names sorted: done again from it, the table must have the same bytes."""
    cells = {"t/b/c": {"run": "second"}, "t/a/c": {"run": "first"}, "t/d/c": {"run": None}}
    for order in (cells, dict(sorted(cells.items())), dict(sorted(cells.items(), reverse=True))):
        assert runs_behind({"columns": [{"id": "ours"}]}, {"claims": {"ours": {"cells": order}}}, "ours") == [
            "first",
            "second",
        ]
