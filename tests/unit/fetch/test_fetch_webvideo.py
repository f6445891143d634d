"""Web videos through yt-dlp's own generic extractor, from a loopback server; and its errors in its own words."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from clips import make, tone

from utopia.datasets import _common
from utopia.errors import InputError, UtopiaError
from utopia.fetch import webvideo
from utopia.fetch.availability import Log, Try
from utopia.fetch.record import FetchRecord
from utopia.fetch.transfer import DiskFullError
from utopia.fetch.webvideo import RequestOptions, classify, fetch_videos

yt_dlp = pytest.importorskip("yt_dlp")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make(path, frames=50, sound=tone(2.0)).read_bytes()


class Waits(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def fetch(server: Any, folder: Path, *ids: str, **more: Any) -> dict[str, Try]:
    options = {"proxy": "", "retries": 1, "retry_sleep_functions": {}}
    manner = RequestOptions(
        pause=3.0, attempts=more.pop("attempts", 2), timeout=2.0, options=options, sleep=more.pop("sleep", Waits())
    )
    return fetch_videos(ids, server.url("/{id}.mp4"), folder, manner, **more)


def test_videos_come_once(server: Any, tmp_path: Path, clip: bytes) -> None:
    folder, waits, told = tmp_path / "videos", Waits(), []
    for id in ("a_1", "-b2"):
        server.file(f"/{id}.mp4", clip, kind="video/mp4")
    found = fetch(server, folder, "a_1", "-b2", "a_1", record=FetchRecord(tmp_path), told=told.append, sleep=waits)
    assert [found[id].status for id in ("a_1", "-b2")] == ["ok", "ok"] and len(told) == 2
    assert (folder / "a_1.mp4").read_bytes() == (folder / "-b2.mp4").read_bytes() == clip
    assert found["a_1"].sha256 == hashlib.sha256(clip).hexdigest() and found["a_1"].attempts == 1
    assert FetchRecord(tmp_path).current(folder / "a_1.mp4") is not None
    assert len(waits) == 1 and 3.0 <= waits[0] <= 4.5, "a pause between two requests, none before the first"
    server.asked.clear()
    again = fetch(server, folder, "a_1", "-b2")
    assert not server.asked and again["-b2"] == found["-b2"]


def test_what_is_gone_is_not_asked_for_again(server: Any, tmp_path: Path, clip: bytes) -> None:
    found = fetch(server, tmp_path, "lost")
    assert found["lost"].status == "gone" and "404" in found["lost"].message and found["lost"].attempts == 1
    asked = len(server.asked["/lost.mp4"])
    assert fetch(server, tmp_path, "lost") == found and len(server.asked["/lost.mp4"]) == asked
    server.file("/lost.mp4", clip, kind="video/mp4")
    found = fetch(server, tmp_path, "lost", again=True)
    assert found["lost"].status == "ok" and found["lost"].attempts == 2
    assert [json.loads(line)["status"] for line in (tmp_path / "availability.jsonl").read_text().splitlines()] == [
        "gone",
        "ok",
    ]


def test_a_fault_that_may_pass_is_tried_again_now_and_later(server: Any, tmp_path: Path, clip: bytes) -> None:
    server.routes["/x.mp4"] = lambda handler: handler.plain(403)
    found = fetch(server, tmp_path, "x")
    assert found["x"].status == "error" and found["x"].attempts == 2 and "403" in found["x"].message
    server.file("/x.mp4", clip, kind="video/mp4")
    found = fetch(server, tmp_path, "x")
    assert found["x"].status == "ok" and found["x"].attempts == 3


def test_a_drop_is_gone_on_with(server: Any, tmp_path: Path, clip: bytes) -> None:
    """The library asks for a video twice, to see what it is and to fetch it: the drop is in the second answer."""
    half = len(clip) // 2
    server.file("/x.mp4", clip, kind="video/mp4", drop=lambda number: half if number == 2 else None, block=1 << 12)
    assert fetch(server, tmp_path, "x")["x"].status == "ok"
    assert (tmp_path / "x.mp4").read_bytes() == clip
    first, second, third = (asked.get("Range") for asked in server.asked["/x.mp4"])
    assert first is second is None and 0 < int(third.removeprefix("bytes=").removesuffix("-")) <= half


def test_what_is_no_video_is_not_kept(server: Any, tmp_path: Path) -> None:
    server.file("/x.mp4", b"not a video " * 100, kind="video/mp4")
    found = fetch(server, tmp_path, "x")
    assert found["x"].status == "error" and "not a video" in found["x"].message
    assert webvideo.video_of(tmp_path, "x") is None


def test_a_site_that_refuses_ends_the_run(server: Any, tmp_path: Path) -> None:
    for id in "abcde":
        server.routes[f"/{id}.mp4"] = lambda handler: handler.plain(429)
    with pytest.raises(UtopiaError, match=r"(?s)the site refuses: .*429.*in some hours"):
        fetch(server, tmp_path, *"abcde")
    assert sorted(Log(tmp_path).last()) == ["a", "b", "c"]


def test_a_full_disk_ends_the_run(server: Any, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    server.file("/x.mp4", clip, kind="video/mp4")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
        with pytest.raises(DiskFullError, match="0 free"):
            fetch(server, tmp_path, "x")
    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", lambda *_, **__: _no_space())
    with pytest.raises(DiskFullError, match="No space left"):
        fetch(server, tmp_path, "x")


def _no_space() -> None:
    raise yt_dlp.utils.DownloadError("ERROR: unable to write data: [Errno 28] No space left on device")


def test_a_line_that_a_kill_has_cut_is_made_good(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add(Try("a", "gone", "m", "t", 1))
    with log.path.open("a") as file:
        file.write('{"id": "b", "sta')
    assert list(log.last()) == ["a"]
    log.path.write_text(log.path.read_text() + "\n" + json.dumps({"id": "c"}) + "\n")
    with pytest.raises(InputError, match=r"availability.jsonl:2: not an entry"):
        log.last()


def test_odd_ids_are_refused(server: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the id of a web video"):
        fetch(server, tmp_path, "../../etc/passwd")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("ERROR: [youtube] AwmHb44_ouw: Video unavailable. This video has been removed by the uploader", "gone"),
        ("ERROR: [youtube] x: Video unavailable. This video is no longer available because the YouTube account "
         "associated with this video has been terminated.", "gone"),
        ("ERROR: [youtube] x: Private video. Sign in if you've been granted access to this video", "private"),
        ("ERROR: [youtube] x: Join this channel to get access to members-only content like this video", "private"),
        ("ERROR: [youtube] x: The uploader has not made this video available in your country", "region"),
        ("ERROR: [youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.", "age"),
        ("ERROR: [youtube] x: Sign in to confirm you’re not a bot. Use --cookies-from-browser", "throttled"),
        ("ERROR: unable to download video data: HTTP Error 403: Forbidden", "error"),
        ("ERROR: [youtube] x: Requested format is not available", "error"),
        ("ERROR: unable to download webpage: timed out", "error"),
    ],
)  # fmt: skip
def test_the_library_s_words(words: str, status: str) -> None:
    found, message = classify(yt_dlp.utils.DownloadError(words))
    assert found == status
    assert not message.startswith("ERROR") and "--cookies" not in message


def test_its_kinds_of_errors_count_before_words() -> None:
    inner = yt_dlp.utils.GeoRestrictedError("The uploader has closed it", countries=["FR"])
    outer = yt_dlp.utils.DownloadError("ERROR: The uploader has closed it", (type(inner), inner, None))
    assert classify(outer)[0] == "region"


def test_every_suffix_is_one_that_data_sets_read() -> None:
    assert set(webvideo.SUFFIXES) <= set(_common.VIDEO_SUFFIXES)
