"""docs/extending.md, to the letter: its files are written, its commands run, and the table holds measured numbers."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import blocks, follow
from whole import Checkout

pytestmark = pytest.mark.workflow

PAGE = "docs/extending.md"


def test_the_page_adds_each_kind_in_one_file(repository: Path) -> None:
    page = blocks((repository / PAGE).read_text())
    assert all(block.path or block.language == "sh" for block in page), "a block without a path is done by nobody"
    added = [block.path.rpartition("/")[0].removeprefix("workflow/") for block in page if block.path.endswith(".py")]
    components = ["losses", "samplers", "models", "datasets", "inputs/miniature"]
    assert [folder for folder in added if folder] == [f"lib/utopia/{kind}" for kind in components]


def test_its_links_lead_somewhere(repository: Path) -> None:
    text = (repository / PAGE).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not (repository / "docs" / link).exists()] == []


def test_what_the_page_says_works(fresh: Checkout) -> None:
    page = blocks((fresh.folder / PAGE).read_text())
    said = follow(page, fresh)
    measured = list(csv.DictReader((fresh.folder / "results/moods/tables/moods.csv").open(encoding="utf-8")))
    assert [row["row"] for row in measured] == [
        row for row in ("conv.baseline", "conv.huber", "conv.huber_oversampled") for _ in ("mse", "pcc")
    ]
    for row in measured:
        assert row["status"] == "measured" and row["n"] == "3", row
        assert float(row["std"]) > 0
        assert bool(row["difference"]) == (row["row"] != "conv.baseline")
    values = {(row["row"], row["column"]): float(row["value"]) for row in measured}
    assert len(set(values.values())) == 6, "each treatment must change the numbers"
    assert min(value for (_, column), value in values.items() if column == "pcc") > 0.8, "the planted curve is learnt"

    tested = re.search(r"(\d+) passed", said)
    assert tested and int(tested[1]) > 25, said
    assert not re.search(r"\d+ (?:failed|error)", said), said
    assert "does not generate moods" not in said
    settings = yaml.safe_load((fresh.folder / "workflow/schemas/study.schema.json").read_text())
    assert {"temporal_conv"} <= set(settings["$defs"]["Models"]["properties"])


def test_the_miniature_takes_the_new_data_set(fresh: Checkout) -> None:
    follow([block for block in blocks((fresh.folder / PAGE).read_text()) if block.language != "sh"], fresh)
    overlay = fresh.folder / "workflow/resources/studies/miniature.yaml"
    text = overlay.read_text()
    assert "  items: {" in text
    overlay.write_text(text.replace("  items: {", "  items: {moods: 6, ", 1))
    code = (
        "from utopia.config.load import load; from utopia.plan.plan import Plan\n"
        "print(*{job.rule for job in Plan(load(overrides={'tables': ['moods'], 'figures': []})).jobs})"
    )
    command = [sys.executable, "-c", code]
    planned = subprocess.run(command, cwd=fresh.folder, env=fresh.environment, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    named = {"generate_miniature", "extract_features", "build_labels", "train", "render_table"}
    assert set(planned.stdout.split()) >= named, planned.stdout
    fresh.snakemake("--", "results/miniature/labels/moods/labels.safetensors")
    manifest = json.loads((fresh.results / "inputs" / "moods.json").read_text())
    assert [bool(item["video_reason"]) for item in manifest["items"]] == [False] * 5 + [True]
    for path in fresh.results.rglob("*.record.json"):
        assert json.loads(path.read_text())["code"]["undeclared"] == [], path
