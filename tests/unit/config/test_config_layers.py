"""Layers: reading YAML with its lines, refusing what YAML would silently accept, merging and locating."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.config import layers
from utopia.config.layers import COMMAND_LINE, Layer
from utopia.errors import ConfigError


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1,\nc: 2\n", 4, "(in what begins in line 2)"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: 1\na: 2\n", 2, "the key 'a' stands twice (first in line 1)"),
        ("x:\n  - y: 1\n    z: 2\n    y: 3\n", 4, "the key 'y' stands twice (first in line 2)"),
        ("? [a, b]\n: 1\n", 1, "a key must be a single word"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "not valid YAML"),
    ],
)
def test_faulty_yaml(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        layers.read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "3"])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a mapping of settings, found (list|str|int)"):
        layers.read(write(tmp_path, text))


@pytest.mark.parametrize("text", [b"a: \xff\xfe\n", b"a: \x00\n"])
def test_not_text(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml: (cannot read|not valid YAML)"):
        layers.read(write(tmp_path, text))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        layers.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_file_holds_nothing(tmp_path: Path, text: str) -> None:
    assert layers.read(write(tmp_path, text)).data == {}


def test_anchors_are_read_once(tmp_path: Path) -> None:
    layer = layers.read(write(tmp_path, "a: &one {x: 1}\nb: *one\nc: {<<: *one, y: 2}\n"))
    assert layer.data["c"] == {"x": 1, "y": 2}
    assert layers.locate([layer], ["b", "x"]).endswith("a.yaml:1")


def test_locating(tmp_path: Path) -> None:
    lower = layers.read(write(tmp_path, "a:\n  b:\n    - c: 1\n    - c: 2\nd: 3\n"))
    upper = Layer(COMMAND_LINE, {"d": 4})
    stack = [lower, upper]
    assert layers.locate(stack, ["a", "b", 1, "c"]) == f"{lower.name}:4"
    assert layers.locate(stack, ["a", "b", 7]) == f"{lower.name}:2", "the nearest parent"
    assert layers.locate(stack, ["d"]) == COMMAND_LINE
    assert layers.locate(stack, ["nothing"]) == lower.name


tree = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
mapping = st.dictionaries(st.sampled_from("abc"), tree, max_size=3)


@given(mapping, mapping)
def test_what_only_the_lower_layer_holds_stays(lower: dict, upper: dict) -> None:
    before = copy.deepcopy([lower, upper])

    def check(below: object, above: object, merged: object) -> None:
        if isinstance(below, dict) and isinstance(above, dict):
            assert isinstance(merged, dict)
            assert set(merged) == set(below) | set(above)
            for key in below:
                check(below[key], above.get(key, below[key]), merged[key])
        elif below is above:
            assert merged == below

    check(lower, upper, layers.merge([Layer("1", lower), Layer("2", upper)]))
    assert [lower, upper] == before, "the layers themselves do not change"


@given(mapping, mapping)
def test_the_upper_layer_wins_at_every_leaf(lower: dict, upper: dict) -> None:
    def check(value: object, merged: object) -> None:
        if isinstance(value, dict):
            assert isinstance(merged, dict)
            for key in value:
                check(value[key], merged[key])
        else:
            assert merged == value

    check(upper, layers.merge([Layer("1", lower), Layer("2", upper)]))
