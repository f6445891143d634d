"""The generated JSON schemas and the reference page, against the models and the real files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from utopia import registry
from utopia.config import schema
from utopia.config.load import CONFIG, REPOSITORY, RESOURCES
from utopia.config.page import page, settings
from utopia.config.study import study_model
from utopia.config.training import Training

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
    page_file = tmp_path / schema.PAGE
    page_file.write_text(page_file.read_text().replace("`repeats`", "`repeat`"))
    assert schema.stale(tmp_path) == [schema.PAGE]
    capsys.readouterr()
    assert schema.main(["--check"], tmp_path) == 1
    assert str(schema.PAGE) in capsys.readouterr().out
    assert schema.main(["--fix"], tmp_path) == 0
    assert schema.stale(tmp_path) == []


def test_every_component_and_field_is_on_the_page() -> None:
    text = page(study_model())
    for kind in ("datasets", "models", "losses", "samplers"):
        for name in registry.names(kind):
            assert f"`{kind}.{name}`" in text
            for field in registry.config_of(kind, name).model_fields:
                assert f"`{kind}.{name}." in text
                assert field in text
    for name in registry.names("extractors"):
        assert f"`extractor: {name}`" in text


def test_every_setting_says_what_it_means() -> None:
    silent = [line for line in page(study_model()).splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert silent == [], "a setting needs a docstring below it"


def test_the_page_shows_the_defaults_of_the_recipe_that_holds() -> None:
    """A model may nest a training recipe with other defaults than the recipe's own class."""
    recipe = Training(epochs=7, patience=3)
    shown = {line.path: line.default for line in settings(Training, "training.", recipe)}
    assert shown["training.epochs"] == "`7`"
    assert shown["training.patience"] == "`3`"
    assert shown["training.learning_rate"] == f"`{Training().learning_rate}`"


def test_open_questions_are_listed_again_at_the_end() -> None:
    body, _, end = page(study_model()).partition("## What the papers leave open")
    marked = {line.split("|")[1] for line in body.splitlines() if line.startswith("| `") and "**[U]**" in line}
    assert marked
    assert marked == {line.split("|")[1] for line in end.splitlines() if line.startswith("| `")}


def test_the_page_and_the_schemas_name_no_machine() -> None:
    for text in schema.documents().values():
        assert str(REPOSITORY) not in text
        assert str(Path.home()) not in text
