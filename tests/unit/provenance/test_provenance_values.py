"""Snakemake's named lists as plain values."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import BaseModel

from utopia.provenance.values import flat, jsonable, named


class Color(StrEnum):
    RED = "red"


class Model(BaseModel):
    path: Path
    size: int = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("a/b"), "a/b"),
        (Color.RED, "red"),
        (Model(path=Path("x")), {"path": "x", "size": 3}),
        ({3, 1}, [1, 3]),
        ((1, "a"), [1, "a"]),
        (np.float64(1.5), 1.5),
        (np.arange(3), [0, 1, 2]),
        (float("inf"), "inf"),
        ({1: None}, {"1": None}),
        (True, True),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_everything_has_a_json_form(value: object, expected: object) -> None:
    found = jsonable(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_snakemakes_own_lists() -> None:
    containers = pytest.importorskip("snakemake.iocontainers")
    params = containers.Params(toclone=["plain"], fromdict=None)
    params.append("x")
    params._add_name("last")
    assert named(params)["last"] == "x"
    assert named(params)[""] == ["plain"]
    files = containers.InputFiles(fromdict={"one": "a", "many": ["b", "c"]})
    assert flat(files) == ["a", "b", "c"]
    assert named(files) == {"one": "a", "many": ["b", "c"]}


def test_other_shapes() -> None:
    assert flat(None) == []
    assert flat("a") == ["a"]
    assert flat({"x": ["a", Path("b")], "y": "c"}) == ["a", "b", "c"]
    assert named(None) == {}
    assert named(["a"]) == {"": ["a"]}
    assert named([]) == {}
    assert named(SimpleNamespace(x=1)) == {"x": 1}
