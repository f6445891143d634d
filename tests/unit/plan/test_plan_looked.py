"""Planning on many videos: what the names of files tell is kept between starts, and no job lists the videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import warm
from checkout import environment
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.config import registry
from utopia.config.load import load
from utopia.files import read_json, sha256, write_json
from utopia.plan import cost, looked, shards
from utopia.plan.plan import Plan
from utopia.provenance.values import jsonable

EXPRESSIONS = (
    "amusement,anger,awe,concentration,confusion,contempt,contentment,disappointment,doubt,elation,interest,pain,"
    "sadness,surprise,triumph"
)


def write_tables(folder: Path, videos: int) -> None:
    """EEV's three files: a fifth each of the videos to validate and to test on."""
    folder.mkdir(exist_ok=True, parents=True)
    parts = {"train.csv": range(videos // 5 * 3), "val.csv": range(videos // 5 * 3, videos // 5 * 4)}
    for name, numbers in {**parts, "test.csv": range(videos // 5 * 4, videos)}.items():
        labels, values = ("", "") if name == "test.csv" else (f",{EXPRESSIONS}", ",0.1" * 15)
        rows = [f"{number:011d},{time}{values}\n" for number in numbers for time in (0, 166_666)]
        (folder / name).write_text(f"YouTube ID,Timestamp (microseconds){labels}\n{''.join(rows)}")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """A data folder with twenty empty videos of EEV and all weights, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    write_tables(folder / "eev", 20)
    (folder / "eev" / "videos").mkdir()
    for number in range(20):
        (folder / "eev" / "videos" / f"{number:011d}.mp4").write_bytes(b"x")
    (folder / "weights").mkdir()
    from utopia.features import weights

    for path in (repository / "workflow" / "resources" / "weights").glob("*.yaml"):
        (folder / "weights" / weights.card(path.stem).file).touch()
    return folder


def planned(data: Path, **more: object) -> Plan:
    return Plan(load({"study": "paper", "data": str(data), "only_datasets": ["eev"], **more}))


def never(*given: object) -> looked.Looked:
    raise AssertionError("the names were matched again")


def test_what_is_kept_gives_the_plan_that_matching_gives(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matched = planned(data)
    assert not looked.kept_at("eev", data / "eev").exists(), "a small folder is matched at every start"
    monkeypatch.setattr(looked, "KEPT_FROM", 20)
    first = planned(data)
    monkeypatch.setattr(looked, "look_through", never)
    again = planned(data)
    assert matched.datasets["eev"] == first.datasets["eev"] == again.datasets["eev"]
    assert [vars(job) for job in matched.jobs] == [vars(job) for job in again.jobs]
    assert len(again.datasets["eev"].with_video) == 20 and again.datasets["eev"].folds[0].train == 12


@pytest.mark.parametrize(
    "what", ["a new video", "a video less", "a renamed video", "another table", "damaged", "other"]
)
def test_what_is_kept_is_not_taken_for_other_names(data: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(looked, "KEPT_FROM", 1)
    planned(data)
    video = data / "eev" / "videos" / f"{3:011d}.mp4"
    place = looked.kept_at("eev", data / "eev")
    expected = 20
    if what == "a new video":
        (data / "eev" / "more").mkdir()
        video.rename(data / "eev" / "more" / video.name)
        planned(data)
        (data / "eev" / "more" / video.name).rename(video)
    elif what == "a video less":
        video.unlink()
        expected = 19
    elif what == "a renamed video":
        video.rename(video.with_name("holiday.mp4"))
        expected = 19
    elif what == "another table":
        write_tables(data / "eev", 15)
        expected = 15
    elif what == "damaged":
        place.write_text(place.read_text()[:-40])
    else:
        place.write_text('{"key": 3}')
    monkeypatch.setattr(looked, "KEPT_FROM", 1)
    kept = planned(data).datasets["eev"]
    monkeypatch.setattr(looked, "KEPT_FROM", 1000)
    assert len(kept.with_video) == expected and kept == planned(data).datasets["eev"]


def test_a_large_folder_is_listed_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start: what is matched and what the job that lists the videos depends on come from the same names."""
    small = planned(data).params("list_inputs", {"dataset": "eev"})["media"]
    monkeypatch.setattr(looked, "KEPT_FROM", 1)
    listed: list[Path] = []
    walked = looked.names_below
    monkeypatch.setattr(looked, "names_below", lambda folder: [*walked(folder), listed.append(folder)][:-1])
    for start in (1, 2):  # the second finds what the first has kept
        assert planned(data).params("list_inputs", {"dataset": "eev"})["media"] == small
        assert listed == [data / "eev"] * start


@pytest.mark.parametrize("kept_from", [1, 20_000])
def test_the_job_that_lists_the_videos_names_one_of_them_and_sees_each_change(
    data: Path, monkeypatch: pytest.MonkeyPatch, kept_from: int
) -> None:
    monkeypatch.setattr(looked, "KEPT_FROM", kept_from)
    folder = data / "eev" / "videos"

    def job() -> tuple[list[str], object]:
        plan = planned(data)
        names = {"dataset": "eev"}
        return plan.job("list_inputs", names).read(), plan.params("list_inputs", names)["media"]

    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (1_000 + number, 1_000 + number))
    read, before = job()
    assert len([path for path in read if path.endswith(".mp4")]) == 1 and read[-2] == str(max(folder.iterdir()))
    assert {Path(path).name for path in read} >= {"train.csv", "val.csv", "test.csv", "eev.yaml"}
    assert jsonable(before) == before and before["files"] == before["bytes"] == 20

    seventh = folder / f"{7:011d}.mp4"
    os.utime(seventh, (5_000, 5_000))  # its content may be another one: a file newer than the manifest lists again
    read, touched = job()
    assert read[-2] == str(seventh) and touched == before
    seventh.write_bytes(b"xx")
    os.utime(seventh, (1_007, 1_007))
    assert job()[1] not in (before,)
    seventh.unlink()
    assert job()[1]["files"] == 19
    (folder / "00000000099.mp4").write_bytes(b"x")
    assert job()[1]["files"] == 20 and job()[1]["sha256"] != before["sha256"]


def test_the_job_is_given_what_the_plan_says_and_its_record_names_each_video(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    config = ["study=paper", f"data={data}", f"results={tmp_path}/results", "only_datasets=['eev']"]
    config.append("datasets={'eev': {'options': {'checksums': 'record'}}}")
    made = f"{tmp_path}/results/paper/inputs/eev.json"
    options = ["--cores", "1", "--nolock", "--workflow-profile", "none"]
    words = [*options, "--config", *config, "--", made]
    done = warm.run("snakemake", *words, cwd=repository, env=environment(repository))
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_json(f"{made}.record.json")
    assert record["params"]["media"] == looked.state(looked.Listing(data / "eev"))[1]
    assert record["roles"]["inputs"]["newest"].endswith(".mp4")
    videos = {Path(entry["path"]).name: entry["sha256"] for entry in record["inputs"] if "/videos/" in entry["path"]}
    assert videos == {path.name: sha256(path) for path in (data / "eev" / "videos").iterdir()}
    assert record["opened"] == {"never_read": [], "undeclared": []}


def test_no_job_names_more_inputs_than_an_argument_can_hold() -> None:
    """Of 32,768 videos there are 512 extraction jobs of 64, of 200,000 not 3,125 but half of 1,024 or more."""
    for videos in (32_768, 200_000, 1_000_000):
        cut = shards.shards_of(tuple(map(str, range(videos))), 64)
        assert len(cut) == 512 if videos == 32_768 else 512 <= len(cut) <= 1024
        named = sum(len(f"results/paper/features/eev/shard-{number:04d}.json") + 3 for number in range(len(cut)))
        assert named < 64 << 10


def test_with_many_videos_each_job_takes_more_of_them_and_one_video_more_changes_no_other_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "MOST_SHARDS", 4)

    def jobs(videos: int) -> list[tuple[str, ...]]:
        return list(shards.shards_of(tuple(f"{number:07d}" for number in range(videos)), 2))

    assert [len(own) for own in jobs(8)] == [2, 2, 2, 2]
    for videos in (9, 10, 12, 15, 16, 17, 1000):
        cut = jobs(videos)
        assert len(cut) <= 4 and [item for own in cut for item in own] == [f"{n:07d}" for n in range(videos)]
        assert len({len(own) for own in cut[:-1]} | {len(cut[0])}) == 1
    assert jobs(12)[:-1] == jobs(11)[:-1] == jobs(10)[:2], "a video more goes to the last job"


def cut(lengths: Sequence[float], size: int, mean: float, known: bool = True) -> list[list[int]]:
    """The numbers of the items of each extraction job."""
    ids = tuple(map(str, range(len(lengths))))
    given = (tuple(lengths), mean) if known else ()
    return [list(map(int, shard)) for shard in shards.shards_of(ids, size, *given)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 600), min_size=1, max_size=40), st.integers(1, 7), st.floats(0.5, 300))
def test_jobs_are_cut_by_seconds_where_these_are_known(lengths: list[float], size: int, mean: float) -> None:
    """Against a walk along the videos; a video more, at the end, leaves all jobs but the last as they are."""
    limit = size * mean
    while limit * 1024 < sum(lengths):
        limit *= 2
    expected, begin = dict[int, list[int]](), 0.0
    for number, length in enumerate(lengths):
        expected.setdefault(int(begin // limit), []).append(number)
        begin += length
    jobs = cut(lengths, size, mean)
    assert jobs == list(expected.values())
    assert cut([*lengths, 60.0], size, mean)[: len(jobs) - 1] == jobs[:-1]
    for own in jobs:
        assert sum(lengths[number] for number in own[:-1]) <= limit * (1 + 1e-9)


@given(st.lists(st.floats(0, 600), min_size=1, max_size=40), st.integers(1, 7), st.floats(0.5, 300))
def test_seconds_of_jobs_are_those_of_their_items(lengths: list[float], size: int, mean: float) -> None:
    ids = tuple(map(str, range(len(lengths))))
    for known in (tuple(lengths), ()):
        jobs = shards.shards_of(ids, size, known, mean)
        expected = [sum(known[int(item)] if known else mean for item in job) for job in jobs]
        assert shards.seconds_of(jobs, known, mean) == pytest.approx(expected)


def test_jobs_of_as_many_seconds_are_nearly_alike_at_the_size_of_eev() -> None:
    """The longest job decides how long extraction takes on many nodes."""
    lengths = np.random.default_rng(0).lognormal(np.log(200), 0.7, 5193).clip(10, 1200).tolist()

    def longest_by_mean(known: bool) -> float:
        seconds = [sum(lengths[number] for number in own) for own in cut(lengths, 64, float(np.mean(lengths)), known)]
        return max(seconds) / (sum(seconds) / len(seconds))

    assert longest_by_mean(known=False) > 1.2 and longest_by_mean(known=True) < 1.1


def test_lengths_are_those_of_tables_and_lists(data: Path, tmp_path: Path) -> None:
    """EEV's rows, six per second; of SumMe the frames of the card; of LIRIS-ACCEDE nothing is known before the run."""
    study = load({"study": "paper", "data": str(data)})
    with (data / "eev" / "train.csv").open("a") as table:
        table.write("".join(f"{0:011d},{time}{',0.1' * 15}\n" for time in (333_333, 500_000)))
    (data / "eev" / "videos" / f"{1:011d}.mp4").unlink()

    def look(name: str, folder: Path) -> looked.Looked:
        options = study.dataset(name).options
        return looked.look(name, registry.load("datasets", name), looked.Listing(folder), options)

    eev = look("eev", data / "eev")
    assert eev.seconds == (4 / 6, *[2 / 6] * 18) and eev.mean_seconds == pytest.approx((4 + 19 * 2) / 6 / 20)
    summe = data / "summe"
    summe.mkdir()
    for name in ("Air_Force_One", "Base jumping"):
        (summe / f"{name}.mp4").write_bytes(b"x")
        (summe / f"{name}.mat").write_bytes(b"x")
    assert look("summe", summe).seconds == pytest.approx((4494 / 25, 4729 / 29.97002997002997))
    movies = data / "liris"
    movies.mkdir()
    (movies / "MEDIAEVAL18_00.mp4").write_bytes(b"x")
    assert look("liris", movies).seconds == ()


def test_lengths_read_line_by_line_are_those_of_the_whole_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traps = {"notes": ['   "id": "no"', '    "duration_s": 9'], "duration_s": 7.0, "facts": {"duration_s": 8.0}}
    items = [
        {"annotations": traps, "facts": {"duration_s": 31.25, "frames": 310}, "files": {}, "id": 'a "b" \u00e9'},
        {"annotations": {}, "facts": {}, "files": {"video": {"duration_s": 5.0}}, "id": "no facts", "key": "x"},
        {"annotations": {}, "facts": {"duration_s": None, "frames": 3}, "id": "not known"},
        {"annotations": traps, "facts": {"audio_codec": "aac", "duration_s": 1e-05}, "id": "last", "part": "train"},
    ]
    write_json(tmp_path / "m.json", {"card": {"id": "card"}, "dataset": "eev", "items": items, "unlisted": ["id"]})
    whole = list(cost.listed_seconds(tmp_path / "m.json"))
    monkeypatch.setattr(cost, "READ_WHOLE_BYTES", 0)
    assert list(cost.listed_seconds(tmp_path / "m.json")) == whole == [('a "b" \u00e9', 31.25), ("last", 1e-05)]
