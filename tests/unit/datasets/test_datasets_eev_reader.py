"""EEV's tables are read as the csv module reads them, at any block size; a kept index is trusted only if it fits."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from utopia.arrays import Arrays
from utopia.datasets import _eev_index
from utopia.datasets._eev_index import EXPRESSIONS, build, index_of, kept_at, read_columns
from utopia.datasets._eev_rows import read_rows
from utopia.errors import InputError

HEADER = ["Video ID", "Timestamp (microseconds)", *EXPRESSIONS]
ALPHABET = "aB-_09"

ids = st.text(ALPHABET, min_size=11, max_size=11) | st.text(ALPHABET, min_size=1, max_size=14)
numbers = (
    st.floats(0, 1, width=32).map(lambda value: str(np.float32(value)))
    | st.floats(0, 1).map(repr)
    | st.sampled_from(["0", "1", "0.0", "1.0", ".5", "1e-05", "0.1234567", "0.12345678901234567", "2.5E-1", " 0.25"])
    | st.decimals(0, 1, places=15, allow_nan=False).map(lambda value: f"{value:f}")
)
times = st.integers(0, 10**15)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A header in any order and rows, mostly of one video after the other."""
    order = draw(st.permutations(range(len(HEADER)))) if draw(st.booleans()) else list(range(len(HEADER)))
    known = draw(st.lists(ids, min_size=1, max_size=4))
    few = draw(st.lists(numbers, min_size=1, max_size=8))
    rows = []
    for video in draw(st.lists(st.sampled_from(known), min_size=1, max_size=6)):
        for _ in range(draw(st.integers(1, 4))):
            row = [video, str(draw(times)), *(draw(st.sampled_from(few)) for _ in EXPRESSIONS)]
            rows.append([row[column] for column in order])
    return [HEADER[column] for column in order], rows


def write(path: Path, header: list[str], rows: list[list[str]], end: str = "\n", last: bool = True) -> Path:
    lines = [",".join(row) for row in [header, *rows]]
    path.write_bytes((end.join(lines) + (end if last else "")).encode())
    return path


def by_csv(path: Path) -> dict[str, list[tuple[int, list[float], int]]]:
    """The oracle: id -> (time, values, line) of each row, by the csv module."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = [name.lower() for name in next(reader)]
        columns = [names.index(name) for name in ("video id", "timestamp (microseconds)", *EXPRESSIONS)]
        found: dict[str, list[tuple[int, list[float], int]]] = {}
        for row in reader:
            if row:
                video, time, *values = (row[column] for column in columns)
                found.setdefault(video, []).append((int(time), [float(value) for value in values], reader.line_num))
    return found


def agree(path: Path, block: int) -> None:
    expected, index = by_csv(path), build(path, block)
    assert list(index.videos) == list(expected)
    for video, rows in expected.items():
        read = read_rows(path, index.videos[video], index.columns, index.columns.expressions)
        assert index.rows(video) == len(rows)
        np.testing.assert_array_equal(read.times, [time for time, _, _ in rows])
        np.testing.assert_array_equal(read.values, [values for _, values, _ in rows])
        np.testing.assert_array_equal(read.lines, [line for _, _, line in rows])


@pytest.mark.long
@settings(deadline=None, max_examples=150)
@given(
    table=tables(),
    block=st.sampled_from([1, 7, 64, 300, 1 << 20]),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
@example((HEADER, [["a", "0", *["0.5"] * 15], ["a-", "1", *["0.5"] * 15]]), 64, "\n", True)
@example((HEADER, [["a" * 12, "0", *["1"] * 15], ["a" * 13, "1", *["0.5"] * 15]]), 64, "\n", False)
def test_it_reads_what_the_csv_module_reads(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[str], list[list[str]]], block: int, end: str, last: bool
) -> None:
    path = write(tmp_path_factory.mktemp("table") / "train.csv", *table, end, last)
    agree(path, block)
    assert build(path, block).cut is not last


def test_a_plain_table_is_never_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast way is the one that is taken, and gives the bits of `float`, on values of every length."""
    random = np.random.default_rng(2)
    texts = [f"{value:.{1 + place % 15}f}" for place, value in enumerate(random.random(300 * 15))]
    rows = [["x" * 11, str(i * 1000), *texts[15 * i : 15 * i + 15]] for i in range(300)]
    path = write(tmp_path / "train.csv", HEADER, rows)
    monkeypatch.setattr("utopia.datasets._eev_rows.line_by_line", None)
    monkeypatch.setattr(_eev_index.RunsOfRows, "one_by_one", None)
    monkeypatch.setattr("utopia.datasets._eev_rows.number_in", None)
    agree(path, 1 << 20)


@pytest.mark.parametrize("blank", ["\n", "\r\n", "  \n"])
def test_blank_lines_and_quotes_and_a_mark_of_the_encoding_are_no_rows(tmp_path: Path, blank: str) -> None:
    row = ",".join(["0.25"] * 15)
    text = f'\ufeff{",".join(HEADER)}\nab,0,{row}\n{blank}ab,166666,{row}\n"cd",0,"0.5",{",".join(["1"] * 14)}\n{blank}'
    path = tmp_path / "train.csv"
    path.write_text(text, newline="")
    index = build(path)
    assert {video: index.rows(video) for video in index.videos} == {"ab": 2, "cd": 1}
    assert read_rows(path, index.videos["cd"], index.columns, index.columns.expressions).values[0, 0] == 0.5
    assert read_rows(path, index.videos["ab"], index.columns, ()).lines.tolist() == [2, 4]


def test_rows_in_two_places_are_two_runs_whatever_the_block(tmp_path: Path) -> None:
    one = ["0.5"] * 15
    rows = [[video, str(i), *one] for i, video in enumerate("aabbbaac")]
    path = write(tmp_path / "train.csv", HEADER, rows)
    for block in (1, 50, 10**6):
        index = build(path, block)
        assert [run.rows for run in index.videos["a"]] == [2, 2] and [run.rows for run in index.videos["b"]] == [3]
        read = read_rows(path, index.videos["a"], index.columns, (3,))
        assert (
            read.times.tolist() == [0, 1, 5, 6] and read.lines.tolist() == [2, 3, 7, 8] and read.values.shape == (4, 1)
        )


class TestHeader:
    @pytest.mark.parametrize("name", ["YouTube ID", "Video ID", "video_id", "YOUTUBE ID", "id"])
    @pytest.mark.parametrize("time", ["Timestamp (microseconds)", "timestamp", "Time", "Timestamp (milliseconds)"])
    def test_names_are_known_in_any_case_and_order(self, tmp_path: Path, name: str, time: str) -> None:
        header = [*(expression.upper() for expression in reversed(EXPRESSIONS)), time, name]
        columns = read_columns(write(tmp_path / "t.csv", header, []))
        assert (columns.id, columns.time, columns.width) == (16, 15, 17)
        assert columns.expressions == tuple(range(14, -1, -1))

    def test_ids_and_times_alone_have_no_expressions(self, tmp_path: Path) -> None:
        assert read_columns(write(tmp_path / "t.csv", HEADER[:2], [])).expressions == ()

    @pytest.mark.parametrize(
        ("header", "words"),
        [
            (HEADER[:-1], "no triumph"),
            ([*HEADER, "joy"], "not known: joy"),
            ([*HEADER, "Anger"], "twice"),
            (HEADER[1:], "0 columns of video ids"),
            ([HEADER[0], *HEADER[2:]], "0 columns of times"),
            ([""], "0 columns of video ids"),
            (["<!DOCTYPE html>"], "<!DOCTYPE html>"),
        ],
    )
    def test_another_header_is_named(self, tmp_path: Path, header: list[str], words: str) -> None:
        path = write(tmp_path / "t.csv", header, [])
        if words == "twice":
            with pytest.raises(InputError, match="twice or not known: anger"):
                read_columns(path)
            return
        with pytest.raises(InputError, match="header is not understood") as error:
            read_columns(path)
        assert words in str(error.value) and f"{path}:1" in str(error.value)


class TestBadLines:
    def read(self, path: Path, video: str = "ab") -> None:
        index = build(path)
        read_rows(path, index.videos[video], index.columns, index.columns.expressions)

    def test_a_cut_line_is_named(self, tmp_path: Path) -> None:
        row = ["0.5"] * 15
        path = write(tmp_path / "t.csv", HEADER, [["ab", "0", *row], ["ab", "1", *row[:9]]], last=False)
        with pytest.raises(InputError, match="11 fields instead of 17") as error:
            self.read(path)
        assert f"{path}:3" in str(error.value)

    @pytest.mark.parametrize("time", ["", "x", "0.5", "nan", "1e400", "1_0"])
    def test_a_time_that_is_no_whole_number_is_named(self, tmp_path: Path, time: str) -> None:
        path = write(tmp_path / "t.csv", HEADER, [["ab", time, *["0.5"] * 15]])
        with pytest.raises(InputError, match="not a whole number of microseconds"):
            self.read(path)

    @pytest.mark.parametrize(
        ("value", "meant"), [("", np.nan), ("x", np.nan), ("1_0", np.nan), ("-0.5", -0.5), ("+1", 1)]
    )
    def test_values_are_read_as_they_are(self, tmp_path: Path, value: str, meant: float) -> None:
        path = write(tmp_path / "t.csv", HEADER, [["ab", "0", *["0.5"] * 14, value]])
        index = build(path)
        read = read_rows(path, index.videos["ab"], index.columns, index.columns.expressions)
        np.testing.assert_array_equal(read.values[0, -1], meant)


class TestKeptIndex:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        rows = [[video, "0", *["0.5"] * 15] for video in ("b", "a")]
        return write(tmp_path / "train.csv", HEADER, rows)

    @pytest.fixture(autouse=True)
    def forget(self) -> None:
        _eev_index.indexed.cache_clear()

    def again(self, path: Path) -> _eev_index.RowsOfVideos:
        _eev_index.indexed.cache_clear()
        return index_of(path).videos

    def test_it_is_read_again_with_the_order_of_the_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = index_of(path)
        monkeypatch.setattr(_eev_index, "build", None)
        assert list(self.again(path)) == ["b", "a"] and index_of(path) == first

    def test_runs_in_several_places_are_kept(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(path, HEADER, [[video, str(i), *["0.5"] * 15] for i, video in enumerate("abbacä")])
        first = index_of(path)
        monkeypatch.setattr(_eev_index, "build", None)
        assert self.again(path) == first.videos and len(first.videos["a"]) == 2 and list(first.videos) == [*"abcä"]

    def test_a_table_without_rows_has_no_videos(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(path, HEADER, [])
        assert not index_of(path).videos
        monkeypatch.setattr(_eev_index, "build", None)
        assert not self.again(path)

    @pytest.mark.parametrize("change", ["size", "time", "damage", "other"])
    def test_one_that_does_not_fit_is_made_anew(self, path: Path, change: str) -> None:
        index_of(path)
        place = kept_at(path)[0]
        before = path.stat()
        if change == "size":
            with path.open("a") as file:
                file.write(f"c,0,{','.join(['0.5'] * 15)}\n")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert list(self.again(path)) == ["b", "a", "c"]
        elif change == "time":
            path.write_text(path.read_text().replace("\nb,", "\nd,"))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
            assert list(self.again(path)) == ["d", "a"]
        elif change == "damage":
            place.write_bytes(place.read_bytes()[:-9])
            assert list(self.again(path)) == ["b", "a"] and Arrays(place)["ids"].tobytes() == b"b\na"
        else:
            place.write_text("[]")
            assert list(self.again(path)) == ["b", "a"]

    def test_the_user_s_cache_serves_where_the_folder_cannot_be_written(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        beside, cache = kept_at(path)
        beside.mkdir()  # nothing can take its place
        index_of(path)
        assert cache.is_file()
        monkeypatch.setattr(_eev_index, "build", None)
        assert list(self.again(path)) == ["b", "a"]

    def test_without_any_place_it_is_made_each_time(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        kept_at(path)[0].mkdir()
        assert list(self.again(path)) == ["b", "a"]

    def test_a_file_that_grows_meanwhile_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def growing(path: Path) -> _eev_index.Index:
            made = build(path)
            path.write_text(path.read_text() + "x")
            return made

        monkeypatch.setattr(_eev_index, "build", growing)
        with pytest.raises(InputError, match="changes while it is read"):
            index_of(path)
        assert not kept_at(path)[0].exists()
