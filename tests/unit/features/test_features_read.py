from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.errors import ChecksumError, ComputeError, InputError
from utopia.features import read
from utopia.features import store as objects
from utopia.features.read import FeatureReader
from utopia.files import write_json


def write_index(folder: Path, name: str, items: dict[str, dict[str, Any]]) -> Path:
    """An index of rows given as (features, times), or of absences given as text."""
    store = folder / "features" / "store"
    index: dict[str, Any] = {}
    for item, features in items.items():
        index[item] = {}
        for feature, value in features.items():
            if isinstance(value, str):
                index[item][feature] = {"absent": value}
            else:
                identity = {"item": item, "feature": feature}
                path = objects.place(store, identity)
                rows, times = np.asarray(value[0], np.float32), np.asarray(value[1], float)
                index[item][feature] = objects.put(path, store, rows, times, identity)
    path = folder / "features" / "movies" / f"{name}.json"
    write_json(path, {"dataset": "movies", "items": index, "decoder": None, "weights": {}})
    return path


SLOW = ([[0, 0.5], [1, 1.5], [2, 2.5]], [0.0, 0.96, 1.92])
FAST = ([[10.0], [11.0], [12.0], [13.0]], [0.2, 0.5, 1.0, 1.5])


@pytest.fixture(params=[64, 1], ids=["all_in_memory", "read_again"])
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> FeatureReader:
    monkeypatch.setattr(read, "KEPT_INDEXES", request.param)
    first = write_index(
        tmp_path, "shard-0", {"one": {"slow": SLOW, "fast": FAST}, "two": {"slow": SLOW, "fast": "no sound"}}
    )
    second = write_index(tmp_path, "shard-1", {"three": {"slow": SLOW}})
    return FeatureReader([first, second])


def test_aligned_takes_the_last_row_at_or_before_each_label(reader: FeatureReader) -> None:
    result = reader.aligned("one", ["slow", "fast"], np.array([0.0, 0.5, 0.96, 1.0, 1.9, 30.0]))
    assert result.dtype == np.float32
    expected = [[0, 0.5, 10], [0, 0.5, 11], [1, 1.5, 11], [1, 1.5, 12], [1, 1.5, 13], [2, 2.5, 13]]
    assert result.tolist() == expected
    assert reader.aligned("one", ["fast", "slow"], np.array([1.0])).tolist() == [[12, 1, 1.5]]
    assert reader.width("one", ["fast", "slow"]) == 3


def test_label_times_outside_a_features_rows_are_counted(reader: FeatureReader, tmp_path: Path) -> None:
    # slow: rows of .96 s from 0 to 2.88; fast: rows of half a second (the median step) from .2 to 2
    times = np.array([0.0, 0.1, 0.2, 1.0, 2.0, 2.05, 2.88, 2.9])
    assert reader.outside("one", "slow", times) == 1
    assert reader.outside("one", "fast", times) == 2 + 3
    lone = FeatureReader([write_index(tmp_path, "lone", {"one": {"x": ([[1.0]], [0.5])}})])
    assert lone.outside("one", "x", np.array([0.4, 0.5, 0.6])) == 2


def test_rounding_of_times_does_not_cost_a_row(tmp_path: Path) -> None:
    picks, fps = np.arange(0, 3000, 15), 29.97002997
    index = write_index(tmp_path, "imported", {"one": {"slow": (picks[:, None], picks / fps)}})
    labels = picks * (1 / fps)  # the same instants, rounded another way
    assert FeatureReader([index]).aligned("one", ["slow"], labels)[:, 0].tolist() == picks.tolist()


@settings(deadline=None)
@given(
    starts=st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True).map(sorted),
    labels=st.lists(st.integers(0, 1200), min_size=1, max_size=20),
)
def test_alignment_is_its_definition(
    tmp_path_factory: pytest.TempPathFactory, starts: list[int], labels: list[int]
) -> None:
    index = write_index(tmp_path_factory.mktemp("a"), "i", {"one": {"x": (np.array(starts)[:, None], starts)}})
    result = FeatureReader([index]).aligned("one", ["x"], np.array(labels))
    before = [[start for start in starts if start <= label] for label in labels]
    assert result[:, 0].tolist() == [found[-1] if found else starts[0] for found in before]


def test_absences_have_reasons(reader: FeatureReader) -> None:
    assert reader.available("one", ["slow", "fast"]) is None
    assert reader.available("two", ["slow", "fast"]) == "fast: no sound"
    assert reader.available("four", ["slow"]) == "slow: no index lists four"
    with pytest.raises(InputError, match="two has no features: fast: no sound"):
        reader.aligned("two", ["slow", "fast"], np.array([0.0]))


def test_an_object_that_was_changed_or_lost_is_noticed(tmp_path: Path, reader: FeatureReader) -> None:
    reader.rows("three", "slow")
    path = objects.place(tmp_path / "features" / "store", {"item": "one", "feature": "slow"})
    objects.put(path, tmp_path / "features" / "store", np.ones((3, 2)), np.array([0.0, 1, 2]), {})
    with pytest.raises(ChecksumError, match=r"snakemake --force .*shard-0.json"):
        reader.rows("one", "slow")
    path.unlink()
    with pytest.raises(ChecksumError, match="no file"):
        reader.rows("one", "slow")


def test_an_object_is_verified_once(tmp_path: Path, reader: FeatureReader, monkeypatch: pytest.MonkeyPatch) -> None:
    from utopia.features import read

    calls: list[Any] = []
    monkeypatch.setattr(read, "verify_rows", lambda *values: calls.append(values))
    for _ in range(3):
        reader.rows("one", "slow")
    assert len(calls) == 1


def test_indexes_must_agree(tmp_path: Path) -> None:
    first = write_index(tmp_path, "a", {"one": {"slow": SLOW}})
    second = write_index(tmp_path, "b", {"one": {"slow": "lost"}})
    with pytest.raises(InputError, match="otherwise about slow of one"):
        FeatureReader([first, second])


@pytest.mark.parametrize(
    ("features", "times"),
    [
        ([], []),
        ([[1.0], [float("nan")]], [0, 1]),
        ([[1.0], [2.0]], [1, 1]),
        ([[1.0]], [0, 1]),
        ([[1.0]], [float("nan")]),
    ],
)
def test_the_store_takes_no_holes(tmp_path: Path, features: Any, times: Any) -> None:
    with pytest.raises(ComputeError):
        objects.put(tmp_path / "x.safetensors", tmp_path, np.array(features), np.array(times), {})
    assert not list(tmp_path.iterdir())


def test_what_many_indexes_say_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand items in a hundred indexes: their names, and what one index says. And all is found again."""
    indexes, count = [], 100
    for shard in range(100):
        numbers = range(shard * count, (shard + 1) * count)
        entry = {"file": "store/00/" + "0" * 32 + ".safetensors", "sha256": "0" * 64, "rows": 5}
        items = {f"{number:011d}": {"x": {**entry, "width": number}} for number in numbers}
        indexes.append(tmp_path / f"shard-{shard:04d}.json")
        write_json(indexes[-1], {"items": items})

    def held(kept: int) -> int:
        monkeypatch.setattr(read, "KEPT_INDEXES", kept)
        tracemalloc.start()
        reader = FeatureReader(indexes)
        assert all(reader.width(f"{number:011d}", ["x"]) == number for number in range(100 * count))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    assert held(1) < held(1000) / 3


@pytest.mark.parametrize("kept", [1, 64])
def test_an_index_that_says_otherwise_is_refused_however_many_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(read, "KEPT_INDEXES", kept)
    first = write_index(tmp_path, "a", {"one": {"slow": SLOW}, "two": {"slow": SLOW}})
    other = write_index(tmp_path, "b", {"one": {"fast": FAST}})
    same = write_index(tmp_path, "c", {"one": {"slow": SLOW}})
    otherwise = write_index(tmp_path, "d", {"two": {"fast": FAST}, "one": {"slow": "silent"}})
    assert FeatureReader([first, other, same]).available("one", ["slow", "fast"]) is None
    for indexes in ([first, other, same, otherwise], [otherwise, other, first]):
        with pytest.raises(InputError, match="says otherwise about slow of one"):
            FeatureReader(indexes)
