"""Reading YAML: what it means is what YAML says, and no file takes more time or memory than its limits allow."""

from __future__ import annotations

import math
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from utopia.config import yaml_file
from utopia.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[3]


def ladder(first: str, step: str, rungs: int) -> str:
    """Lines of anchors, where each uses the one before it: `{0}` is the number of the line, `{1}` the one before."""
    lines = [f"a0: &a0 {first}"] + [step.format(number, number - 1) for number in range(1, rungs + 1)]
    return "\n".join(lines) + "\n"


NINE_MERGES = ladder("{x: 1}", "a{0}: &a{0} {{<<: [" + ", ".join(["*a{1}"] * 9) + "]}}", 9)
LAUGHS = ladder("[x, x]", "a{0}: &a{0} [" + ", ".join(["*a{1}"] * 9) + "]", 9)
CHAIN = ladder("{x: 1}", "a{0}: &a{0} {{y: *a{1}}}", 3000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NINE_MERGES, "too large"),
        (LAUGHS, "too large"),
        (CHAIN, "too deep"),
        ("a: " + "[" * 3000 + "]" * 3000, "too deep"),
        ("a: " + "{b: " * 3000 + "1" + "}" * 3000, "too deep"),
        ("".join(f"{' ' * level}a:\n" for level in range(3000)), "too deep"),
        ("a: &one [*one]\n", "holds itself"),
        ("a: &one {b: {c: *one}}\n", "holds itself"),
        ("a: *nothing\n", "undefined alias"),
        ("a: " + "9" * 5000, "cannot be read as int"),
        ("a: 0x" + "f" * 5000, "too large a number"),
        ("a: 9223372036854775808", "too large a number"),
        ("a: !!float abc", "cannot be read as float"),
        ('a: !!int ""', "cannot be read as int"),
        ("a: !!bool maybe", "cannot be read as bool"),
        ("a: !!int 08", "cannot be read as int"),
        ("a: !!timestamp 2026-02-31", "has no meaning here"),
        ("a: !!binary x", "has no meaning here"),
        ("a: !!set {x}", "has no meaning here"),
        ("a: !!python/name:os.system x", "has no meaning here"),
        ("a: {<<: 3}", "mapping"),
        ("a: {<<: [3]}", "mapping"),
        ("{[a]: 1}", "single word"),
    ],
)
def test_what_no_settings_hold_is_refused_at_once_with_its_line(text: str, words: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        yaml_file.parse("# a comment\n" + text, "a.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("a.yaml:")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert time.process_time() - start < 5


def test_the_same_as_yaml_says_of_every_file_of_ours() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.yaml", "*.cff"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    names = listed.stdout.split()
    assert len(names) > 50
    for name in names:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        # Dates are text here.
        expected = yaml.load(text, Loader=yaml.BaseLoader if name.endswith(".cff") else yaml.SafeLoader)
        found = yaml_file.parse(text, name).data
        if name.endswith(".cff"):
            assert {key: value for key, value in found.items() if isinstance(value, str)}.items() <= expected.items()
        else:
            assert found == expected, name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1E3", -1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("12", 12),
        ("-0", 0),
        ("0x1f", 31),
        ("1_000", 1000),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("12:30", "12:30"),
        ("2026-02-31", "2026-02-31"),
        ("1e", "1e"),
        ("y", "y"),
    ],
)
def test_values(text: str, value: object) -> None:
    found = yaml_file.parse(f"a: {text}", "a.yaml").data["a"]
    assert found == value and type(found) is type(value)


def test_numbers_without_end_are_numbers() -> None:
    assert yaml_file.parse("a: [.inf, -.inf]", "").data["a"] == [math.inf, -math.inf]
    assert math.isnan(yaml_file.parse("a: .nan", "").data["a"])


def test_aliases_and_merge_keys_within_limits_are_read() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [*b, *a], z: 4}\nd: [*a, *a]\n"
    data = yaml_file.parse(text, "").data
    assert data["b"] == {"x": 1, "y": 3}
    assert data["c"] == {"x": 1, "y": 3, "z": 4}
    assert data["d"] == [{"x": 1, "y": 2}] * 2


@pytest.mark.parametrize("kind", ["device", "folder", "pipe", "missing", "nul", "long", "large"])
def test_files_that_are_none(tmp_path: Path, kind: str) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large.yaml"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(yaml_file.MOST_BYTES + 1)
    path = {
        "device": Path("/dev/zero"),
        "folder": tmp_path,
        "pipe": pipe,
        "missing": tmp_path / "none.yaml",
        "nul": Path("a\0b"),
        "long": tmp_path / ("x" * 300),
        "large": large,
    }[kind]
    with pytest.raises(ConfigError) as caught:
        yaml_file.read(path)
    assert "cannot read" in str(caught.value) or "too large" in str(caught.value)
