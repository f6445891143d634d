"""Components found by looking into folders, and their settings read without importing them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from utopia.config import registry
from utopia.config.base import Strict
from utopia.config.described import meanings, schema_of
from utopia.errors import ConfigError

COMPONENTS = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    """An empty package to put components into."""
    for kind in registry.KINDS:
        (tmp_path / kind).mkdir()
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    registry.names.cache_clear()
    registry.config_of.cache_clear()
    yield tmp_path
    registry.names.cache_clear()
    registry.config_of.cache_clear()


COMPONENT = '''"""A model for tests.

More about it."""

from __future__ import annotations

from typing import Literal

import not_installed_anywhere
from not_installed_anywhere import Heavy
from pydantic import Field

from utopia.config.base import Strict

raise RuntimeError("the rest of the file must not run")


class Config(Strict):
    class Inner(Strict):
        x: int = 1
        """The x
        of it."""

    width: int = Field(3, ge=1)
    """How wide."""
    kind: Literal["a", "b"] = "a"
    """Which kind."""
    inner: Inner = Inner()
    """The inner part."""
    silent: float = 0.5


class Model(Heavy):
    pass
'''


def test_there_are_components() -> None:
    assert COMPONENTS
    for kind in registry.KINDS:
        assert list(registry.names(kind)) == sorted(registry.names(kind))


def test_a_file_is_a_registration(package: Path) -> None:
    assert registry.names("models") == ()
    registry.names.cache_clear()
    for name in ("two.py", "one.py", "_helper.py", "__init__.py", "notes.txt"):
        (package / "models" / name).write_text("")
    assert registry.names("models") == ("one", "two")


def test_settings_are_read_without_running_the_file(package: Path) -> None:
    (package / "models" / "wide.py").write_text(COMPONENT)
    config = registry.config_of("models", "wide")
    assert issubclass(config, Strict)
    assert config.__doc__ == "A model for tests."
    assert config().model_dump() == {"width": 3, "kind": "a", "inner": {"x": 1}, "silent": 0.5}
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        config(width=0)
    with pytest.raises(ValueError, match="Extra inputs"):
        config(widht=1)


def test_docstrings_below_fields_say_what_they_mean(package: Path) -> None:
    (package / "models" / "wide.py").write_text(COMPONENT)
    config = registry.config_of("models", "wide")
    assert meanings(config) == {"width": "How wide.", "kind": "Which kind.", "inner": "The inner part.", "silent": None}
    inner = config.model_fields["inner"].annotation
    assert meanings(inner) == {"x": "The x\nof it."}
    assert schema_of(config)["properties"]["width"]["description"] == "How wide."


WORDS = "First words"
BEHIND = (
    "def help_it() -> None:\n    pass\n\n\nclass Config(Strict):\n    width: int = 3\n",
    "class Other:\n    pass\n\n\nclass Config(Strict):\n    width: int = 3\n",
)


@pytest.mark.parametrize("code", BEHIND)
def test_settings_and_constants_are_read_wherever_they_stand(package: Path, code: str) -> None:
    head = (
        f'"""{WORDS}: of a text in which a line\ndef begins like code."""\nfrom utopia.config.base import Strict\n\n\n'
    )
    (package / "models" / "wide.py").write_text(f"{head}{code}\n\nMARGIN = 4\n")
    assert registry.config_of("models", "wide")().model_dump() == {"width": 3}
    assert registry.constant("models", "wide", "MARGIN") == 4
    assert registry.title("models", "wide") == WORDS


@pytest.mark.parametrize("kind", [*registry.KINDS, "figures"])
def test_the_part_that_is_parsed_has_the_constants_of_the_whole_file(kind: str) -> None:
    for name in registry.names(kind):
        tree = ast.parse(registry.path_of(kind, name).read_text(encoding="utf-8"))
        nodes = [node for node in tree.body if isinstance(node, ast.Assign)]
        for target, value in [(target, node.value) for node in nodes for target in node.targets]:
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                assert registry.constant(kind, name, target.id) == value.value, (name, target.id)


def test_a_component_without_settings_gets_an_empty_class_of_its_own(package: Path) -> None:
    (package / "losses" / "plain.py").write_text('"""Nothing to set."""\n')
    (package / "losses" / "other.py").write_text('"""Nothing either."""\n')
    plain, other = registry.config_of("losses", "plain"), registry.config_of("losses", "other")
    assert (plain.__doc__, other.__doc__) == ("Nothing to set.", "Nothing either.")
    assert plain is not Strict
    assert not plain.model_fields
    with pytest.raises(ValueError, match="Extra inputs"):
        plain(x=1)


def test_settings_that_need_heavy_names_are_refused(package: Path) -> None:
    (package / "models" / "bad.py").write_text(
        "from torch import float32\nfrom utopia.config.base import Strict\n"
        "class Config(Strict):\n    kind: str = float32\n"
    )
    with pytest.raises(ConfigError) as caught:
        registry.config_of("models", "bad")
    assert "'float32'" in str(caught.value)
    assert "bad.py" in str(caught.value)


def test_an_unknown_component_names_the_nearest(package: Path) -> None:
    (package / "samplers" / "tns.py").write_text("")
    with pytest.raises(ConfigError) as caught:
        registry.path_of("samplers", "tsn")
    assert "there is no sampler 'tsn'; did you mean 'tns'?" in str(caught.value)
    assert "add samplers/tsn.py" in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_both_ways_of_reading_settings_agree(kind: str, name: str) -> None:
    light = registry.config_of(kind, name)
    heavy = getattr(registry.load(kind, name), "Config", Strict)
    assert set(light.model_fields) == set(heavy.model_fields)
    if heavy is not Strict:
        # A class without a docstring of its own takes over the first line of the file's.
        no_words = {"description": ""}
        assert light.model_json_schema() | no_words == heavy.model_json_schema() | no_words
    assert all(meanings(light).values()), "every field needs a docstring below it"


def test_reading_all_settings_imports_no_torch() -> None:
    code = (
        "import sys\nfrom utopia.config import registry\n"
        "for kind in registry.KINDS:\n    for name in registry.names(kind): registry.config_of(kind, name)\n"
        "assert 'torch' not in sys.modules and 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_title_of_a_component_is_in_its_file(package: Path) -> None:
    """As the papers print it; the docstrings of datasets and models that they compare may say more, but not less."""
    (package / "models" / "mine.py").write_text('"""Mine: a model, as: others."""')
    (package / "models" / "other.py").write_text(
        '"""A model without a title, whose sentence has no colon before its end: none."""'
    )
    (package / "models" / "bare.py").write_text("")
    assert [registry.title("models", name) for name in ("mine", "other", "bare", "gone")] == [
        "Mine",
        "other",
        "bare",
        "gone",
    ]


def test_titles_are_those_of_the_papers_tables() -> None:
    printed = {"et": "ET", "pgl_sum": "PGL-SUM", "rmn": "RMN", "bi_gru": "Bi-GRU"}
    assert {name: registry.title("models", name) for name in registry.names("models")} == printed
    printed = {
        "liris": "LIRIS-ACCEDE",
        "summe": "SumMe",
        "tvsum": "TVSum",
        "pmemo": "PMEmo",
        "eev": "EEV",
        "case": "CASE",
    }
    assert {name: registry.title("datasets", name) for name in printed} == printed
