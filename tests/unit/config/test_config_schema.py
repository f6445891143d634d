"""The generated JSON schemas and the reference pages, against the models and the real files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from utopia.config import registry, schema
from utopia.config.load import CONFIG, REPOSITORY, RESOURCES
from utopia.config.page import pages, settings
from utopia.config.study import study_model
from utopia.config.training import Training

PAGE = schema.PAGES / "configuration" / "study.md"
OVERLAYS = sorted((RESOURCES / "studies").glob("*.yaml"))


def faults(which: dict, data: object) -> list[str]:
    return [error.json_path + " " + error.message for error in Draft202012Validator(which).iter_errors(data)]


def test_the_schemas_are_draft_2020_12() -> None:
    for which in (schema.study_schema(), schema.overlay_schema()):
        Draft202012Validator.check_schema(which)


def test_config_yaml_fits_the_schema() -> None:
    assert faults(schema.study_schema(), yaml.safe_load(CONFIG.read_text())) == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_fit_the_overlay_schema_and_not_the_whole_one(overlay: Path) -> None:
    data = yaml.safe_load(overlay.read_text())
    assert faults(schema.overlay_schema(), data) == []
    assert faults(schema.study_schema(), data), "an overlay lacks required settings"


@pytest.mark.parametrize(
    "change",
    [
        {"sed": 1},
        {"repeats": 0},
        {"device": "gpu"},
        {"treatments": {"baseline": {"loss": "no_such_loss"}}},
        {"features": {"a": {"extractor": "hdf5", "file": "x"}}},
        {"models": {"et": {"width": 3}}},
    ],
)
def test_both_schemas_refuse_what_the_models_refuse(change: dict) -> None:
    data = yaml.safe_load(CONFIG.read_text())
    assert faults(schema.study_schema(), data | change)
    assert faults(schema.overlay_schema(), change)


def test_fixing_and_checking(tmp_path: Path, capsys) -> None:
    assert schema.main([], tmp_path) == 1
    assert "--fix" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "a check writes nothing"
    assert schema.main(["--fix"], tmp_path) == 0
    assert schema.main(["--check"], tmp_path) == 0
    page_file = tmp_path / PAGE
    page_file.write_text(page_file.read_text().replace("`repeats`", "`repeat`"))
    assert schema.stale(tmp_path) == [PAGE]
    capsys.readouterr()
    assert schema.main(["--check"], tmp_path) == 1
    assert str(PAGE) in capsys.readouterr().out
    assert schema.main(["--fix"], tmp_path) == 0
    assert schema.stale(tmp_path) == []


SETTING = re.compile(r"^\* \*\*`([^`]+)`\*\* ", re.MULTILINE)


def every_page() -> str:
    return "\n".join(pages(study_model()).values())


def points(text: str) -> list[str]:
    """The point of each setting, in one line."""
    return [re.sub(r"\s+", " ", part) for part in re.split(r"\n(?=\* |\n|#)", text) if SETTING.match(part)]


def test_every_component_and_field_is_on_a_page() -> None:
    text = every_page()
    for kind in ("datasets", "models", "losses", "samplers"):
        for name in registry.names(kind):
            assert f"`{kind}.{name}`" in text
            for field in registry.config_of(kind, name).model_fields:
                assert f"`{kind}.{name}." in text
                assert field in text
    for name in registry.names("extractors"):
        assert f"`extractor: {name}`" in text


def test_every_setting_says_what_it_means() -> None:
    assert len(points(every_page())) > 250
    silent = [line for line in points(every_page()) if re.search(r"\): *$", line)]
    assert silent == [], "a setting needs a docstring below it"


def test_no_page_is_long_or_wide_and_the_first_one_leads_to_all() -> None:
    made = pages(study_model())
    first = made.pop("configuration.md")
    assert set(re.findall(r"\]\((configuration/\w+\.md)\)", first)) == set(made)
    assert max(len(text.splitlines()) for text in made.values()) < 400
    assert max(len(line) for text in made.values() for line in text.splitlines()) <= 120


def test_no_page_of_settings_is_left_that_nothing_generates() -> None:
    folder = REPOSITORY / schema.PAGES / "configuration"
    assert {f"configuration/{path.name}" for path in folder.iterdir()} | {"configuration.md"} == set(
        pages(study_model())
    )


def test_a_setting_that_all_members_share_is_said_once() -> None:
    text = pages(study_model())["configuration/features.md"]
    assert text.count("`features.<name>.normalise`") == 1
    assert "### every `extractor`" in text


def test_the_page_shows_the_defaults_of_the_recipe_that_holds() -> None:
    """A model may nest a training recipe with other defaults than the recipe's own class."""
    recipe = Training(epochs=7, patience=3)
    shown = {line.path: line.default for line in settings(Training, "training.", recipe)}
    assert shown["training.epochs"] == "`7`"
    assert shown["training.patience"] == "`3`"
    assert shown["training.learning_rate"] == f"`{Training().learning_rate}`"


def test_open_questions_are_listed_again_on_a_page_of_their_own() -> None:
    made = pages(study_model())
    end = points(made.pop("configuration/open.md"))
    marked = [line for text in made.values() for line in points(text) if "**[U]**" in line]
    assert len(marked) > 30
    assert sorted(marked) == sorted(end)


def test_the_page_and_the_schemas_name_no_machine() -> None:
    for text in schema.documents().values():
        assert str(REPOSITORY) not in text
        assert str(Path.home()) not in text
