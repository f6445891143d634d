"""Cards, the search for files, the value check and the folds that all data sets share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.config import registry
from utopia.datasets import _card, _common
from utopia.datasets._card import CardFold, CardItem
from utopia.datasets._common import Limits, Located
from utopia.errors import ConfigError, InputError


def located(ids: list[str], folds: dict[str, list[str]]) -> Located:
    items = tuple(CardItem(id=item, name=item, key=item) for item in ids)
    return Located(Path(), {}, {}, items, tuple(CardFold(name=name, test=test) for name, test in folds.items()))


@pytest.mark.parametrize("dataset", registry.names("datasets"))
def test_card_is_complete_and_consistent(dataset: str) -> None:
    card = _card.card(dataset)
    ids = [item.id for item in card.items]
    assert len(set(ids)) == len(ids)
    assert len({item.key for item in card.items}) == len(ids)
    assert all(set(fold.test) < set(ids) for fold in card.folds)
    assert {defect.id for defect in card.known_defects} <= set(ids)
    assert set(card.label_range) == set(registry.load("datasets", dataset).TARGETS)
    assert card.licence and card.citation and card.terms


def test_card_counts_are_the_published_ones() -> None:
    counts = {name: len(_card.card(name).items) for name in ("liris", "summe", "tvsum")}
    assert counts == {"liris": 66, "summe": 25, "tvsum": 50}
    # How many of the videos are ever tested by the overlapping published folds.
    tested = {name: len({item for fold in _card.card(name).folds for item in fold.test}) for name in counts}
    assert tested == {"liris": 12, "summe": 18, "tvsum": 34}


def test_a_bad_card_names_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "liris.yaml").write_text("title: LIRIS\nlicense: none\n")
    monkeypatch.setattr(_card, "CARDS", tmp_path)
    _card.card.cache_clear()
    try:
        with pytest.raises(ConfigError, match="license") as caught:
            _card.card("liris")
    finally:
        _card.card.cache_clear()
    assert "citation" in str(caught.value)


def test_scan_leaves_out_hidden_skipped_and_deep_folders(tmp_path: Path) -> None:
    for name in ("a.txt", ".hidden/b.txt", "Visual_Features/c.txt", "1/2/3/4/5/d.txt", "1/2/3/4/5/6/e.txt", "1/.f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = _common.scan(tmp_path, skip=("*_features",))
    assert [path.name for path in found.files] == ["a.txt", "d.txt"]
    assert not found.problem


def test_scan_looks_through_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.mp4").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "videos").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in _common.scan(tmp_path / "data").files] == ["a.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_scan_says_which_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    try:
        assert "locked cannot be read (Permission denied)" in _common.scan(tmp_path).problem
    finally:
        (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize("dataset", registry.names("datasets"))
def test_a_folder_that_cannot_be_listed_is_a_reason(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root no permission denies, so the operating system's refusal is brought about by a call that fails alike."""

    def refused(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    module = registry.load("datasets", dataset)
    found = module.locate(tmp_path, module.Config())
    assert "cannot be read (Permission denied)" in found.missing["annotations"]
    assert all(not item.files for item in module.items(found, module.Config()))


def test_by_stem_forgives_spaces_and_case_and_prefers_the_nearest() -> None:
    files = [Path("Base_Jumping.MP4"), Path("deep/Base jumping.mp4"), Path("other.txt")]
    assert _common.by_stem(files, (".mp4",)) == {"base_jumping": Path("Base_Jumping.MP4")}


@pytest.mark.parametrize(
    ("content", "word"),
    [("{", "not valid JSON"), ('{"dataset": "liris"}', "generated_by"), (None, "generated for 'summe'")],
)
def test_a_bad_list_of_generated_items_is_refused(tmp_path: Path, content: str | None, word: str) -> None:
    whole = {"dataset": "summe", "generated_by": "x", "items": [{"id": "a", "name": "a", "key": "a"}], "folds": []}
    (tmp_path / "expected.json").write_text(json.dumps(whole) if content is None else content)
    module = registry.load("datasets", "liris")
    with pytest.raises(Exception, match=word) as caught:
        module.locate(tmp_path, module.Config())
    assert "expected.json" in str(caught.value)


def test_folds_are_restricted_and_keep_the_official_order() -> None:
    here = located(["a", "b", "c", "d"], {"one": ["d", "a"], "two": ["b"]})
    assert _common.restricted_folds(here, ["d", "c", "a"]) == [
        {"name": "one", "train": ["c"], "test": ["a", "d"]},
        {"name": "two", "train": ["a", "c", "d"], "test": []},
    ]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_values_within_the_limits_pass(values: list[float]) -> None:
    _common.refuse_bad_values(np.array(values), Limits(-1, 1), "valence", str)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=30),
    st.sampled_from([np.nan, np.inf, -np.inf, 1.01, -2.0, 1e300]),
    st.data(),
)
def test_one_bad_value_is_refused_with_its_row(values: list[float], bad: float, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    values[row] = bad
    with pytest.raises(InputError, match=f"^row {row}: the valence label"):
        _common.refuse_bad_values(np.array(values), Limits(-1, 1), "valence", lambda index: f"row {index}")


def test_rounding_at_the_limit_is_no_fault() -> None:
    _common.refuse_bad_values(np.array([1.0 + 1e-12]), Limits(0, 1), "importance", str)
