"""The page of a study: its ancestry is what `explain` says, and it is safe, small and always the same."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import page_study
import pytest
from markupsafe import escape
from page_study import GPU, HOSTILE, ROOT

from utopia import files
from utopia.cli.explain import in_short
from utopia.cli.touched import select
from utopia.errors import UtopiaError
from utopia.provenance.explain import explain
from utopia.provenance.job import sealed
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph
from utopia.provenance.subject import find
from utopia.report.ancestry import shortened
from utopia.report.data import gather
from utopia.report.page import BUDGET, html, packed, unpacked


@pytest.fixture
def own_study(page_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be damaged."""
    import shutil

    shutil.copytree(page_folder, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


class Decoded:
    """The ancestry in a page, read as the page's script reads it."""

    def __init__(self, text: str) -> None:
        self.data = unpacked(text)

    def cells(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], list[Any]]]:
        for table in self.data["tables"]:
            for place, cell in enumerate(table["cells"]):
                row = table["rows"][place // len(table["columns"])]
                column = table["columns"][place % len(table["columns"])]
                yield f"{table['id']}/{row[0]}/{column[0]}", cell, table, column

    def members(self, number: int) -> set[int]:
        return {n for first, last in self.data["sets"][number] for n in range(first, last + 1)}

    def path(self, folder: int, name: str) -> str:
        return "/".join(part for part in (self.data["folders"][folder], name) if part)

    def inputs(self, numbers: set[int]) -> dict[str, str]:
        given = self.data["inputs"]
        return {self.path(given["folder"][n], given["name"][n]): _full(given["sha256"][n]) for n in numbers}

    def job(self, number: int) -> str:
        return self.data["texts"][self.data["jobs"]["rows"][number][0]]


def _full(sha256: str) -> str:
    return base64.b64decode(sha256 + "=").hex()


def decoded() -> Decoded:
    return Decoded(html(gather(page_study.graph(), "tiny", ["verdicts", "quoting"], ["curve"])))


def test_a_numbers_ancestry_is_what_explain_says(study: Path) -> None:
    page, graph = decoded(), page_study.graph()
    looked_at = 0
    for name, cell, table, column in page.cells():
        found = explain(graph, find(graph, name), "tiny")
        assert cell.get("v") == found["value"]["value"] and cell.get("ve", "") == found["value"]["verdict"]
        if cell["k"] in ("absent", "quoted", "dash", "blank"):
            continue
        looked_at += 1
        runs = [page.data["runs"][n] for n in cell["ru"]]
        jobs = page.members(table["jobs"]).union(*(page.members(run[1]) for run in runs))
        # explain writes `rule(name=value)`, failures and the page `rule (name=value)`.
        assert {page.job(n).replace(" ", "") for n in jobs} == {each["job"] for each in found["jobs"]}
        inputs = page.inputs(set().union(*(page.members(run[2]) for run in runs)))
        assert inputs == {each["path"]: each["sha256"] for each in found["inputs"]} and inputs
        for run in runs:
            assert {k: page.data["values"][n] for k, n in run[3].items()} == found["settings"]["runs"][run[0]]
            replicas = [each for each in found["replicas"] if each["run"] == run[0]]
            keys, values = run[5][f"{column[3]} {column[4]}"]
            assert [list(each) for each in page.data["values"][keys]] == [[r["fold"], r["repeat"]] for r in replicas]
            assert values == pytest.approx([r["metrics"]["pcc"] for r in replicas], rel=1e-11)
            trainings = [one for each in replicas for one in each["trainings"]]
            places, seeds, _, selected, checkpoints, *said = run[4]["valence"]
            of_memory = said and (page.data["values"][said[0]], said[1])
            asked = (["td_error", "writes"], [[None, 0.25]] * len(selected)) if ".rmn." in run[0] else []
            assert of_memory == asked
            assert page.data["values"][seeds] == [str(one["seed"]) for one in trainings]
            assert selected == [one["selected_epoch"] + 1 for one in trainings]
            assert checkpoints == [one["sha256"][:12] for one in trainings]
            assert len(page.data["values"][places]) == len(trainings)
    assert looked_at == 7


def test_groups_keys_and_cells_without_a_number(study: Path) -> None:
    """Rows stand under the printed headings; a dash and a blank open nothing; a statement has its verdict."""
    page = decoded()
    text = html(gather(page_study.graph(), "tiny", ["quoting"], []))
    headings = re.findall(r'<tr class="group"><th scope="rowgroup" colspan="3">(.*?)</th></tr>', text)
    assert headings == [f"Theirs {escape(HOSTILE)}", "Ours"]
    assert '<td class="untitled"></td>' in text and '<th scope="row" class="key">5</th>' in text
    assert re.search(r'<td class="dash">–<small>', text) and "<td></td>" in text
    kinds = {name: cell["k"] for name, cell, _, _ in page.cells() if name.startswith("quoting/")}
    assert list(kinds.values()) == ["quoted", "dash", "blank", "same", "fails"]
    assert len(re.findall(r'<button class="n" data-c="', text)) == 3
    assert "<b>0 of 1</b>" in text and "does not hold" in text
    rows = unpacked(text)["tables"][0]["rows"]
    assert ["ours", "Ours: T = 5"] in rows


def test_a_figures_ancestry_is_what_explain_says(study: Path) -> None:
    page, graph = decoded(), page_study.graph()
    found = explain(graph, find(graph, "curve"), "tiny")
    jobs, inputs = page.data["figures"][0]["reach"]
    assert {page.job(n).replace(" ", "") for n in page.members(jobs)} == {each["job"] for each in found["jobs"]}
    assert page.inputs(page.members(inputs)) == {each["path"]: each["sha256"] for each in found["inputs"]}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("host", "node7"), ("host", "desk"), ("gpu", GPU["uuid"]), ("commit", "b" * 40), ("input", "raw/films/one.mp4"),
     ("input", "raw/songs/song.mp3")],
)  # fmt: skip
def test_what_has_touched_a_number_is_what_touched_says(study: Path, kind: str, value: str) -> None:
    page, graph = decoded(), page_study.graph()
    jobs = page.data["jobs"]

    def is_it(number: int) -> bool:
        row = jobs["rows"][number]
        machine = jobs["machines"][row[1]]
        if kind == "host":
            return machine["host"] == value
        return (
            value in [gpu["uuid"] for gpu in machine["gpus"]] if kind == "gpu" else jobs["commits"][row[2]][0] == value
        )

    found = []
    for name, cell, table, _ in page.cells():
        if cell["k"] == "quoted":
            continue
        runs = [page.data["runs"][n] for n in (*cell.get("ru", ()), *cell.get("ag", ()))]
        reached = page.members(table["jobs"]).union(*(page.members(run[1]) for run in runs))
        files_ = page.inputs(set().union(*(page.members(run[2]) for run in runs), set()))
        if value in files_ if kind == "input" else any(map(is_it, reached)):
            found.append(name)
    expected = select(graph, kind, value)[1].cells
    # A table's machine touches also what is only quoted; the page shows no ancestry of that.
    assert sorted(found) == [name for name in expected if name != "quoting/others/films"]
    assert found


def test_what_is_shared_stands_in_the_page_once(study: Path) -> None:
    page = decoded()
    runs = {run[0]: run for run in page.data["runs"]}
    assert runs["films.et.baseline"][1:3] == runs["films.et.cwl"][1:3]  # one pack: the same sets, by number
    text = json.dumps(page.data)
    for path in ("raw/films", "raw/songs"):
        assert text.count(f'"{path}"') == 1 + text.count(f'"folder": "{path}"')
    assert text.count(shortened(files.sha256("raw/films/one.mp4"))) == 1


def test_the_same_study_gives_the_same_bytes(own_study: Path) -> None:
    first, second = Path(ROOT, "report", "index.html"), own_study / "again.html"
    page_study.page(first)
    # A page has a record as well; it says nothing of numbers.
    with page_study.job("render_page", {"t": f"{ROOT}/tables/verdicts.csv"}, {"h": f"{ROOT}/report/index.html"}):
        pass
    page_study.page(second)
    assert first.read_bytes() == second.read_bytes()
    assert b"render_page" not in second.read_bytes()


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.handlers: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs).get("alt") or "")
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data", "background") or (tag == "link" and name == "href"):
                self.loaded.append(value or "")
            elif name == "href":
                self.linked.append(value or "")
            elif name.startswith("on") or name == "style":
                self.handlers.append(f"{tag} {name}")


def test_it_loads_nothing_and_escapes_everything(study: Path) -> None:
    text = html(gather(page_study.graph(), "tiny", ["verdicts", "quoting"], ["curve"]))
    found = _Addresses()
    found.feed(text)
    assert [address[:23] for address in found.loaded] == ["data:image/webp;base64,"]
    assert all(address.startswith(("#", "../tables/", "../figures/")) for address in found.linked)
    assert found.handlers == [] and len(found.images) == 1 and found.images[0].startswith("A curve")
    assert HOSTILE not in text and "onerror=&#34;" in text
    assert not re.search(r"@import|url\(|https?:(?!//www\.w3\.org/2000/svg)", text.split('id="ancestry"')[0])
    assert text.count("<script") == text.count("</script>") == 2


def test_the_policy_names_the_script_and_style_that_are_there(study: Path) -> None:
    text = html(gather(page_study.graph(), "tiny", ["verdicts"], []))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    allowed = policy[1].replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; ")
    for element in ("style", "script"):
        content = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in allowed
    assert "unsafe" not in allowed and "http" not in allowed and "*" not in allowed


def test_data_cannot_end_its_element() -> None:
    hostile = {"</script>": "<!--\u2028&\udcff"}
    text = str(packed(hostile))
    assert re.fullmatch("[A-Za-z0-9+/=]+", text) and text == str(packed(hostile))
    assert unpacked(f'<script type="application/gzip" id="ancestry">{text}</script>') == hostile
    with pytest.raises(UtopiaError, match="no element `ancestry`"):
        unpacked("<html></html>")


def test_what_is_stale_is_marked(own_study: Path) -> None:
    path = Path(f"{ROOT}/runs/songs.et.baseline/metrics.csv.record.json")
    facts = json.loads(path.read_text())
    facts["code"]["modules"] = {**facts["code"]["modules"], "utopia.errors": "0" * 64}
    files.write_json(path, sealed(facts))
    found = gather(page_study.graph(), "tiny", ["verdicts", "quoting"], ["curve"])
    assert found.stale == 1 and not found.figures[0].stale
    page = Decoded(html(found))
    assert [name for name, cell, _, _ in page.cells() if cell.get("st")] == ["verdicts/base/songs"]
    reasons = [page.data["texts"][n] for row in page.data["jobs"]["rows"] for n in row[12]]
    assert reasons == ["code: utopia.errors"]


@pytest.mark.parametrize(
    ("name", "cells"),
    [("runs/films.rmn.baseline/metrics.csv", ["verdicts/rmn/films"]),
     ("tables/quoting.csv", ["quoting/ours/films", "quoting/better/films"])],
)  # fmt: skip
def test_a_file_that_was_changed_is_told_and_its_numbers_marked(own_study: Path, name: str, cells: list[str]) -> None:
    path = Path(ROOT, name)
    path.write_text(path.read_text().replace("0.5", "0.6", 1).replace("0.6", "0.7", 1))
    found = gather(page_study.graph(), "tiny", ["verdicts", "quoting"], [])
    assert found.warnings == (f"{ROOT}/{name}: not the file that its record describes",)
    assert [name for name, cell, _, _ in Decoded(html(found)).cells() if cell.get("st")] == cells


def test_an_edited_record_is_told(own_study: Path) -> None:
    path = Path(f"{ROOT}/runs/films.rmn.baseline/metrics.csv.record.json")
    path.write_text(path.read_text().replace('"node7"', '"desk"'))
    found = gather(page_study.graph(), "tiny", ["verdicts"], [])
    assert [name for name, cell, _, _ in Decoded(html(found)).cells() if cell.get("st")] == ["verdicts/rmn/films"]


def test_a_damaged_record_is_told(own_study: Path) -> None:
    Path(f"{ROOT}/inputs/other.json.record.json").write_text("{")
    assert "damaged record" in gather(page_study.graph(), "tiny", ["verdicts"], []).warnings[0]


def test_a_table_without_a_record_is_refused(own_study: Path) -> None:
    Path(f"{ROOT}/tables/quoting.csv.record.json").unlink()
    with pytest.raises(UtopiaError, match="no record says how the table quoting was made"):
        gather(page_study.graph(), "tiny", ["verdicts", "quoting"], [])


def enlarged(monkeypatch: pytest.MonkeyPatch, copies: int = 110) -> list[str]:
    """A study of the paper study's size: the small one many times over, under other names of data sets, files and runs,
    each data set with features that nine more jobs took from four videos each; in tables of 36 and of 12 rows."""
    records = [json.loads(path.read_text()) for path in sorted(Path(ROOT).rglob("*.record.json"))]
    kept = [one for one in records if not one["rule"].startswith(("render", "report"))]
    kept.sort(key=lambda one: one["ended"])
    for number in range(copies):
        for facts in kept:
            _copy(facts, number)
            if facts["rule"] == "build_labels":
                for shard in range(9):
                    _extract(facts, _renamed(facts["wildcards"]["dataset"], number), shard)
    tables = []
    for first in range(0, copies, 12):
        runs = [f"{run.replace('films', f'films{number}')}" for number in range(first, min(first + 12, copies))
                for run in page_study.RUNS if run.startswith("films.")]  # fmt: skip
        many = dict.fromkeys(runs, ("films", 0.5, "desk"))
        songs = [f"songs{number}.et.baseline" for number in range(first, min(first + 12, copies))]
        with monkeypatch.context() as patch:
            patch.setattr(page_study, "RUNS", many | dict.fromkeys(songs, ("songs", 0.3, "desk")))
            for column, own in (("films", runs), ("songs", songs)):
                table = page_study.table_of(f"many_{column}_{first}", column, own)
                page_study.render(table)
                tables.append(table["id"])
    return tables


ARRAYS = ("labels.safetensors", "predictions.safetensors")


def _copy(facts: dict[str, Any], number: int) -> None:
    text = json.dumps({name: value for name, value in facts.items() if name != "digest"})
    again = json.loads(_renamed(text, number))
    for entry in again["inputs"]:
        path = Path(entry["path"])
        entry["sha256"] = files.sha256(path) if path.exists() else hashlib.sha256(entry["path"].encode()).hexdigest()
        entry["bytes"] = path.stat().st_size if path.exists() else 10**7
    if again["rule"].startswith("train_"):
        dataset = again["inputs"][0]["path"].split("/")[-2]
        shards = [f"{ROOT}/features/{dataset}/shard-{shard:04d}.json" for shard in range(9)]
        again["inputs"] += [{"path": path, "sha256": files.sha256(path), "bytes": 100} for path in shards]
    for old, entry in zip(facts["outputs"], again["outputs"], strict=True):
        path = Path(entry["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        content = Path(old["path"]).read_bytes()
        path.write_bytes(content if path.name in ARRAYS else _renamed(content.decode(), number).encode())
        entry["sha256"], entry["bytes"] = files.sha256(path), path.stat().st_size
    _store(again)


def _extract(facts: dict[str, Any], dataset: str, shard: int) -> None:
    index = f"{ROOT}/features/{dataset}/shard-{shard:04d}.json"
    content = json.dumps({"items": {f"{dataset} {shard}": index}})
    Path(index).parent.mkdir(parents=True, exist_ok=True)
    Path(index).write_text(content)
    videos = [f"raw/{dataset}/videos/MEDIAEVAL_{dataset}_{shard}_{number:05d}.mp4" for number in range(4)]
    made = [{"path": index, "sha256": files.sha256(index), "bytes": len(content)}]
    again = {name: value for name, value in facts.items() if name not in ("digest", "roles")} | {
        "rule": "extract_features",
        "wildcards": {"dataset": dataset, "shard": f"{shard:04d}"},
        "inputs": [
            {"path": path, "sha256": hashlib.sha256(path.encode()).hexdigest(), "bytes": 10**7 + n}
            for n, path in enumerate(videos)
        ],
        "outputs": made,
        "roles": {"inputs": {"videos": videos}, "outputs": {"": index}},
        "command": f"snakemake --cores 1 --force --config study=tiny -- {index}",
    }
    _store(again)


def _store(record: dict[str, Any]) -> None:
    """On one line and not atomically, which takes a tenth of the time."""
    Path(f"{record['outputs'][0]['path']}.record.json").write_text(json.dumps(sealed(record)))


def _renamed(text: str, number: int) -> str:
    return text.replace("films", f"films{number}").replace("songs", f"songs{number}")


@pytest.mark.long
def test_the_page_of_a_study_of_three_thousand_jobs_is_small_and_soon_made(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = enlarged(monkeypatch)
    started = time.process_time()
    found = gather(Graph(Ledger.read(ROOT), ROOT), "tiny", tables, ["curve"])
    text = html(found)
    seconds = time.process_time() - started
    without = len(re.sub(r"data:image/webp;base64,[^\"]*", "", text).encode())
    print(f"{found.facts['jobs']} jobs, {found.facts['inputs']} inputs, {sum(found.tally.values())} cells: "
          f"{without / 2**20:.2f} MiB in {seconds:.1f} s of CPU")  # fmt: skip
    assert found.facts["jobs"] >= 3000 and found.facts["inputs"] >= 5000 and found.stale == 0
    assert without < BUDGET
    assert seconds < 15  # measured: see docs/report.md


def test_explain_says_of_a_statement_how_many_comparisons_hold(study: Path) -> None:
    found = explain(page_study.graph(), find(page_study.graph(), "quoting/better/films"), "tiny")
    lines = in_short(found, [])
    assert lines[0].startswith("quoting/better/films = 0 of 1   Ours is better")
    assert "0 of 1 comparisons hold on the means over 3 seeds" in "\n".join(lines)
