"""Every table and figure of the catalogue has a caption that Snakemake's report can show."""

from __future__ import annotations

from pathlib import Path

import pytest

RESOURCES = Path(__file__).resolve().parents[3] / "workflow" / "resources"
REPORT = RESOURCES.parent / "report"
IDS = sorted(path.stem for kind in ("tables", "figures") for path in (RESOURCES / kind).glob("*.yaml"))


@pytest.mark.parametrize("name", IDS)
def test_a_caption_stands_beside_each_table_and_figure(name: str) -> None:
    core = pytest.importorskip("docutils.core", reason="captions are rendered by the report only")
    text = (REPORT / f"{name}.rst").read_text(encoding="utf-8")
    parts = core.publish_parts(text, writer="html", settings_overrides={"report_level": 1, "halt_level": 2})
    assert "<strong>" in parts["body"] and len(text) > 300


def test_no_caption_without_a_table_or_figure() -> None:
    assert {path.stem for path in REPORT.glob("*.rst")} - {"caption"} == set(IDS)
