"""docs/open_questions.md against the configuration: every switch that it names exists, with its default and values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.plan.catalog import tables

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "open_questions.md"
MODEL_OF_ITS_OWN = "models.rmn."
"""All of RMN is open; the page says so once, and its settings are marked where they stand."""


class Switch(NamedTuple):
    """A setting that decides a question."""

    question: int
    path: str
    default: Any
    others: list[Any]


def switches(text: str) -> list[Switch]:
    """What the page names: "* Switch: `path` is `default`; also `value`, `value`."."""
    found = []
    question = 0
    for line in re.sub(r"\n  +", " ", text).splitlines():
        if heading := re.match(r"### (\d+)\. ", line):
            question = int(heading[1])
        if not line.startswith("* Switch: `"):
            continue
        match = re.fullmatch(r"\* Switch: `([^`]+)` is `([^`]+)`; also ((?:`[^`]+`(?:, )?)+)\.", line)
        assert match, f"question {question}: cannot be read: {line}"
        others = [yaml.safe_load(value) for value in re.findall(r"`([^`]+)`", match[3])]
        found.append(Switch(question, match[1], yaml.safe_load(match[2]), others))
    return found


SWITCHES = switches(PAGE.read_text(encoding="utf-8"))


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def value_at(study: Any, path: str) -> Any:
    for part in path.split("."):
        study = study[part] if isinstance(study, dict) else getattr(study, part)
    return study


def test_each_question_has_a_number_and_a_source() -> None:
    text = PAGE.read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 24
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        assert re.search(r"\b[Ss]ecs?\.\s|\bEqs?\. \d|[Nn]o text|The text", part), title
        assert "* Switch: " in part or "* No switch" in part, title
    decided = {switch.question for switch in SWITCHES}
    assert len(decided) > 30


@pytest.mark.parametrize("switch", SWITCHES, ids=[switch.path for switch in SWITCHES])
def test_every_switch_exists_with_its_default_and_takes_the_other_values(switch: Switch) -> None:
    base = {"study": "paper"}
    published = value_at(load(overrides=base), switch.path)
    assert published == switch.default and type(published) is type(switch.default)
    for value in switch.others:
        study = load(overrides={**base, **nested(switch.path, value)})
        assert value_at(study, switch.path) == value != switch.default


def test_what_is_marked_as_undocumented_is_a_question_here() -> None:
    named = {switch.path for switch in SWITCHES}
    of_features = {re.sub(r"^features\.\w+\.", "features.<name>.", path) for path in named}
    marked = re.findall(r"^\* \*\*`([^`]+)`\*\* ", (DOCS / "configuration" / "open.md").read_text(), re.MULTILINE)
    assert len(marked) > 30
    missing = {path for path in marked if path not in named | of_features and not path.startswith(MODEL_OF_ITS_OWN)}
    assert missing == set()


def test_what_is_tried_one_at_a_time_is_a_question_here() -> None:
    """Every row of `beyond_sensitivity` takes another value of a switch of the question that it names."""
    sections = {"distribution": r"datasets\.\w+\.distribution", "model": r"models\.\w+"}
    sections |= {"sampler": r"samplers\.tns", "loss": r"losses\.cwl"}
    table = tables()["beyond_sensitivity"]
    base = table.rows[0]
    assert base.run is not None and not base.run.set and len(table.rows) > 25
    for row in table.rows[1:]:
        assert row.run is not None and row.run.set and row.against == base.id
        assert (row.run.model, row.run.treatment) == (base.run.model, base.run.treatment)
        of_question = [switch for switch in SWITCHES if switch.question == row.keys["question"]]
        tried = [
            switch
            for dotted, value in row.run.set.items()
            for switch in of_question
            for section, _, rest in [dotted.partition(".")]
            if re.fullmatch(rf"{sections[section]}\.{re.escape(rest)}", switch.path) and value != switch.default
        ]
        assert tried, row.id


def test_a_switch_that_is_gone_would_be_found() -> None:
    (gone,) = switches("### 1. A\n* Switch: `samplers.tns.gone` is `a`; also\n  `b`.\n")
    assert gone == (1, "samplers.tns.gone", "a", ["b"])
    with pytest.raises(AttributeError):
        value_at(load(overrides={"study": "paper"}), gone.path)
    with pytest.raises(ConfigError, match="gone"):
        load(overrides=nested(gone.path, "b"))
