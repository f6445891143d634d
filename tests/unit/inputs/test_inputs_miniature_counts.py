"""How many items the miniature has, and which of them is damaged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from utopia.errors import ConfigError
from utopia.inputs.miniature import damaged_id, generate, item_ids, video_ids
from utopia.inputs.miniature.eev_ids import ids_of

SIZE = {"seconds": 20.0, "width": 48, "height": 40, "fps": 10, "annotators": 24, "label_annotators": 3}


class TestCounts:
    @pytest.mark.parametrize(("count", "development", "test"), [(6, 4, 2), (14, 10, 4), (48, 36, 12)])
    def test_movies_are_parted_three_to_one(self, count: int, development: int, test: int) -> None:
        numbers = [int(item[-2:]) for item in item_ids("liris", count)]
        assert numbers == [*range(development), *range(54, 54 + test)]
        assert int(str(damaged_id("liris", count))[-2:]) == development - 1

    def test_the_last_item_of_eev_has_no_video(self) -> None:
        parts = ids_of(12)
        assert [len(ids) for ids in parts.values()] == [8, 3, 2]
        every = [item for ids in parts.values() for item in ids]
        assert item_ids("eev", 12) == every and video_ids("eev", 12) == every[:-1] and len(set(every)) == 13
        assert all(re.fullmatch("[A-Za-z0-9_-]{11}", item) for item in every) and {"-", "_"} <= {id[0] for id in every}
        assert damaged_id("eev", 12) == parts["train"][-1]
        assert all(set(ids_of(6)[part]) <= set(parts[part]) for part in parts)

    @pytest.mark.parametrize("dataset", ["liris", "pmemo", "summe", "tvsum"])
    def test_every_item_has_a_video_or_a_song(self, dataset: str) -> None:
        assert video_ids(dataset, 8) == item_ids(dataset, 8)
        assert damaged_id(dataset, 8) in item_ids(dataset, 8)

    @pytest.mark.parametrize(("count", "bad"), [(6, "song_5"), (8, "song_8"), (9, "song_8")])
    def test_the_damaged_song_is_the_last_that_trains(self, count: int, bad: str) -> None:
        assert damaged_id("pmemo", count) == bad

    @pytest.mark.parametrize(("dataset", "count"), [("liris", 5), ("liris", 49), ("summe", 0)])
    def test_counts_that_make_no_folds_are_refused(self, dataset: str, count: int) -> None:
        with pytest.raises(ConfigError, match=rf"generated.items.{dataset} is {count}"):
            item_ids(dataset, count)

    def test_an_unknown_data_set_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="cannot generate the data set 'moon'"):
            item_ids("moon", 8)

    def test_more_label_annotators_than_annotators_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="label_annotators"):
            generate(dataset="tvsum", count=8, settings=SIZE | {"label_annotators": 25}, seed=1, folder=tmp_path)
        assert not list(tmp_path.iterdir())
