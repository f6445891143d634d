"""The plan of a series, and the distribution file with both scopes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia import arrays
from utopia.config.study import Distribution
from utopia.distribution.approximate import approximate_distribution
from utopia.distribution.item import ItemDistribution, describe_item, read_item
from utopia.distribution.plan import needed_samples, shortage
from utopia.errors import ComputeError, InputError

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
series = st.one_of(
    st.lists(st.floats(0, 1), min_size=1, max_size=80),
    st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.55]), min_size=1, max_size=80),
    st.tuples(st.floats(0, 1), st.integers(1, 60)).map(lambda c: [c[0]] * c[1]),
).map(np.array)


@given(series, st.integers(1, 15))
def test_need_is_the_rounded_shortage_of_bins_with_a_sample(label_T: np.ndarray, window: int) -> None:
    found = describe_item(label_T, SUMMARY, window)
    eligible = (found.count > 0) & (found.utopia_count > found.count)
    assert found.samples_needed.sum() == sum(round(short) for short in (found.utopia_count - found.count)[eligible])
    assert not found.samples_needed[~eligible].any()
    assert found.count.sum() == len(label_T)


@given(series)
def test_all_frames_of_a_slice_share_its_bin(label_T: np.ndarray) -> None:
    found = describe_item(label_T, SUMMARY, 10)
    for (start, stop), k in zip(found.slice, found.slice_bin, strict=True):
        assert (found.bin[start:stop] == k).all()


def test_all_labels_in_one_bin() -> None:
    found = describe_item(np.linspace(0.41, 0.49, 30), SUMMARY, 10)
    assert found.weight == pytest.approx(np.ones(30))
    assert not found.samples_needed.any()  # its neighbours are short but have no frame to copy
    assert found.slice.tolist() == [[0, 30]]


def test_one_frame() -> None:
    found = describe_item(np.array([1.0]), SUMMARY, 10)
    assert found.weight.tolist() == [1]
    assert found.coefficient.tolist() == [[1]]
    assert found.window.tolist() == [[0, 1]]


def test_rounding_switch() -> None:
    short = np.array([0.5, 1.5, 2.2, 0.0])
    assert needed_samples(short).tolist() == [0, 2, 2, 0]
    assert needed_samples(short, "floor").tolist() == [0, 1, 2, 0]
    assert needed_samples(short, "ceil").tolist() == [1, 2, 3, 0]


def test_a_pooled_shortage_is_shared_by_frames() -> None:
    own, pooled, utopia = np.array([2.0, 0, 1]), np.array([4.0, 0, 4]), np.array([10.0, 3, 2])
    assert shortage(own, pooled, utopia).tolist() == [3, 0, 0]


def labels_file(path: Path, labels: dict[str, np.ndarray], folds: list[dict[str, object]]) -> Path:
    contents = {f"{item}/importance": label for item, label in labels.items()}
    contents |= {f"{item}/times": np.arange(len(label), dtype=float) for item, label in labels.items()}
    meta = {
        "dataset": "toy",
        "protocol": "affect",
        "targets": {"importance": {"low": 0.0, "high": 1.0}},
        "items": list(labels),
        "folds": folds,
        "absent": {},
    }
    arrays.save(path, contents, meta)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = {name: rng.beta(2, 4, size=50 + 10 * i) for i, name in enumerate("abcd")}
    folds: list[dict[str, object]] = [
        {"name": "0", "train": ["a", "b", "gone"], "test": ["c", "d"]},
        {"name": "1", "train": ["b", "c", "d"], "test": ["a"]},
    ]
    return labels_file(tmp_path / "labels.safetensors", labels, folds)


def test_file_per_video(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "distribution.safetensors"
    approximate_distribution(labels=toy, settings=SUMMARY.model_dump(), window=7, output=out)
    file, labels = arrays.load(out), arrays.load(toy)
    assert file.meta["window"] == 7
    assert Distribution.model_validate(file.meta["settings"]) == SUMMARY
    for item in "abcd":
        expected = describe_item(labels[f"{item}/importance"], SUMMARY, 7)
        found = read_item(file, item, "importance", "0")
        for name in ItemDistribution.__dataclass_fields__:
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    first = out.read_bytes()
    approximate_distribution(labels=toy, settings=SUMMARY.model_dump(), window=7, output=out)
    assert out.read_bytes() == first


def test_file_per_fold(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "distribution.safetensors"
    approximate_distribution(labels=toy, settings=SUMMARY.model_dump() | {"scope": "train_set"}, window=10, output=out)
    file = arrays.load(out)
    b = [read_item(file, "b", "importance", fold) for fold in "01"]
    assert not np.array_equal(b[0].count, b[1].count)
    for fold, train in (("0", "ab"), ("1", "bcd")):
        members = [read_item(file, item, "importance", fold) for item in train]
        pooled = sum(member.own_count for member in members)
        weights = np.concatenate([member.weight for member in members])
        assert weights.mean() == pytest.approx(1)
        short = sum(max(0.0, u - n) for u, n in zip(members[0].utopia_count, pooled, strict=True) if n > 0)
        assert sum(int(member.samples_needed.sum()) for member in members) == pytest.approx(
            short, abs=0.5 * 10 * len(train)
        )
        for member in members:
            assert np.array_equal(member.count, pooled)
    with pytest.raises(InputError, match="has no c/importance/0"):
        read_item(file, "c", "importance", "0")  # a test item of this fold


def test_errors_name_file_and_item(tmp_path: Path) -> None:
    path = labels_file(tmp_path / "labels.safetensors", {"v": np.array([0.1, np.nan])}, [])
    with pytest.raises(ComputeError, match=r"labels\.safetensors: v/importance: label nan at frame 1"):
        approximate_distribution(
            labels=path, settings=SUMMARY.model_dump(), window=10, output=tmp_path / "out.safetensors"
        )
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.shared
def test_real_tvsum_labels(shared_data: Path) -> None:
    """The shares measured independently on the 50 videos: need 8 % of the frames, mass lost to empty bins .7 %."""
    h5py = pytest.importorskip("h5py")
    path = shared_data / "tvsum" / "ydata-tvsum50.mat"
    if not path.is_file():
        pytest.skip("needs the TVSum annotations")
    need = frames = lost = 0.0
    with h5py.File(path) as file:
        for reference in file["tvsum50"]["user_anno"][:, 0]:
            label_T = (np.asarray(file[reference]).mean(axis=0)[::15] - 1) / 4
            found = describe_item(label_T, SUMMARY, 10)
            need, frames = need + found.samples_needed.sum(), frames + len(label_T)
            lost += found.utopia_count[found.count == 0].sum()
    assert 0.07 < need / frames < 0.09
    assert 0.004 < lost / frames < 0.012
