"""Every table and figure of the catalogue has a caption that Snakemake's report can show."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from utopia.config.load import load
from utopia.plan.rule import caption

RESOURCES = Path(__file__).resolve().parents[3] / "workflow" / "resources"
REPORT = RESOURCES.parent / "report"
IDS = sorted(path.stem for kind in ("tables", "figures") for path in (RESOURCES / kind).glob("*.yaml"))


def written(name: str, **changes: object) -> str:
    return caption(SimpleNamespace(study=load(changes)), name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", IDS)
def test_a_caption_stands_beside_each_table_and_figure(name: str) -> None:
    core = pytest.importorskip("docutils.core", reason="captions are rendered by the report only")
    text = written(name)
    parts = core.publish_parts(text, writer="html", settings_overrides={"report_level": 1, "halt_level": 2})
    assert "<strong>" in parts["body"] and len(text) > 300 and "{" not in text


def test_no_caption_without_a_table_or_figure() -> None:
    assert {path.stem for path in REPORT.glob("*.rst")} - {"caption"} == set(IDS)


def test_a_number_that_the_configuration_sets_is_the_one_that_is_used() -> None:
    assert " uniformly, 7 times per video" in written("ulda_table_2", evaluation={"random_draws": 7})


def test_what_several_captions_say_is_written_once() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*REPORT.glob("*.rst"), REPORT / "shared.jinja")]
    own = (" ".join(re.sub(r"{.*?[}]}?", "", text).split()) for text in texts)
    sentences = Counter(sentence for text in own for sentence in re.split(r"(?<=[.:;]) ", text) if len(sentence) > 120)
    assert [sentence for sentence, count in sentences.items() if count > 2] == []
