"""Downloads from servers that do what servers do."""

from __future__ import annotations

import email.utils
import functools
import hashlib
import random
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utopia.errors import ChecksumError, InputError
from utopia.fetch import transfer
from utopia.fetch.download import Fetched, Wanted, download
from utopia.fetch.transfer import DiskFullError, Policy, SourceError, retry_after

DATA = random.Random(5).randbytes(400_000)
SHA = hashlib.sha256(DATA).hexdigest()


class Waits(list[float]):
    """Sleeps that do not sleep."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def policy(waits: Waits | None = None, **more: Any) -> Policy:
    given: dict[str, Any] = {"stall": 2.0, "connect": 2.0, "block": 1 << 15, "spare": 0, "jitter": lambda: 0.0}
    return Policy(sleep=Waits() if waits is None else waits, **(given | more))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def fetch(target: Path, *sources: str, with_policy: Policy | None = None, **known: Any) -> Fetched:
    return download(Wanted(target, sources, **known), with_policy or policy())


def is_clean(target: Path) -> bool:
    """The file, and nothing else, is in the folder."""
    return [path.name for path in target.parent.iterdir()] == [target.name] and target.read_bytes() == DATA


def test_a_file_comes_whole_and_nothing_else_is_left(server: Any, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    wanted = Wanted(target, [server.file("/f", DATA)], sha256=SHA, bytes=len(DATA))
    got = download(wanted, policy(), lambda done, total: seen.append((done, total)))
    assert is_clean(target)
    assert (got.sha256, got.bytes, got.transferred) == (SHA, len(DATA), len(DATA))
    assert seen[-1] == (len(DATA), len(DATA)) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert server.asked["/f"][0]["Accept-Encoding"] == "identity"


def test_a_dropped_connection_is_gone_on_with(server: Any, target: Path) -> None:
    waits = Waits()
    url = server.file("/f", DATA, drop=lambda number: 100_000 if number < 4 else None)
    got = fetch(target, url, sha256=SHA, with_policy=policy(waits))
    assert is_clean(target)
    assert server.sent["/f"] == got.transferred == len(DATA), "no byte came twice"
    assert [asked.get("Range") for asked in server.asked["/f"]] == [None, *(f"bytes={n}00000-" for n in (1, 2, 3))]
    assert waits == [1.0, 1.0, 1.0], "progress resets the waiting time"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=5), ranges=st.booleans(), known=st.booleans())
def test_wherever_it_drops_the_bytes_are_the_same(server: Any, cuts: list[int], ranges: bool, known: bool) -> None:
    server.asked.clear()
    url = server.file("/f", DATA, drop=lambda number: cuts[number - 1] if number <= len(cuts) else None, ranges=ranges)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "file.bin")
        fetch(target, url, sha256=SHA if known else None)
        assert is_clean(target)


def test_a_server_that_ignores_ranges_is_begun_anew(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, ranges=False, drop=lambda number: 150_000 if number < 3 else None)
    fetch(target, url, sha256=SHA)
    assert is_clean(target)
    assert server.asked["/f"][1]["Range"] == "bytes=150000-"
    assert server.sent["/f"] == len(DATA) + 300_000


def test_a_file_that_changes_meanwhile_is_begun_anew(server: Any, target: Path) -> None:
    """Without a known digest the parts of two versions would make a file that never was."""
    old = b"x" * len(DATA)
    server.file("/old", old, drop=100_000)
    server.file("/new", DATA)

    def changing(handler: Any) -> None:
        server.routes["/old" if handler.number == 1 else "/new"](handler)

    server.routes["/f"] = changing
    fetch(target, server.url("/f"))
    assert is_clean(target)
    assert server.asked["/f"][1]["If-Range"] == f'"{hashlib.sha256(old).hexdigest()[:16]}"'


def test_without_validator_and_digest_nothing_is_gone_on_with(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, etag=None, drop=lambda number: 100_000 if number == 1 else None)
    fetch(target, url)
    assert is_clean(target)
    assert "Range" not in server.asked["/f"][1]


def test_a_weak_etag_does_not_vouch_for_bytes(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, etag='W/"1"', drop=lambda number: 100_000 if number == 1 else None)
    fetch(target, url)
    assert is_clean(target) and "Range" not in server.asked["/f"][1]


def test_a_mirror_goes_on_where_another_source_ended(server: Any, target: Path) -> None:
    first = server.file("/a", DATA, drop=100_000)
    second = server.file("/b", DATA, etag='"other"')
    server.routes["/a"] = functools.partial(_once_then_gone, inner=server.routes["/a"])
    got = fetch(target, first, second, sha256=SHA)
    assert is_clean(target) and got.source == second
    assert server.sent["/b"] == len(DATA) - 100_000


def _once_then_gone(handler: Any, inner: Any) -> None:
    if handler.number == 1:
        inner(handler)
    else:
        handler.plain(404)


def test_a_part_of_another_version_is_found_out_and_begun_anew(server: Any, target: Path) -> None:
    bad = server.file("/a", b"z" * len(DATA), drop=lambda number: 100_000)
    server.routes["/a"] = functools.partial(_once_then_gone, inner=server.routes["/a"])
    got = fetch(target, bad, server.file("/b", DATA), sha256=SHA)
    assert is_clean(target)
    assert got.transferred == len(DATA) - 100_000 + len(DATA), "the rest, then the whole"


@pytest.mark.parametrize("stated", [len(DATA) - 1000, len(DATA) + 1000])
def test_a_wrong_length_is_noticed_at_once_where_the_size_is_known(server: Any, target: Path, stated: int) -> None:
    url = server.file("/f", DATA, length=stated)
    with pytest.raises(InputError, match=f"its file has {stated} bytes, expected {len(DATA)}"):
        fetch(target, url, bytes=len(DATA), sha256=SHA)
    assert not target.exists()


def test_a_length_stated_too_long_is_outvoted_by_the_digest(server: Any, target: Path) -> None:
    fetch(target, server.file("/f", DATA, length=len(DATA) + 1000), sha256=SHA)
    assert is_clean(target)


def test_a_length_stated_too_long_is_never_believed_without_a_digest(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, length=len(DATA) + 1000)
    with pytest.raises(InputError, match=r"states one length and gives another"):
        fetch(target, url)
    assert not target.exists()


def test_a_length_stated_too_short_gives_another_digest(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, length=len(DATA) - 1000)
    with pytest.raises(ChecksumError, match=rf"sends another file: its sha256 is [0-9a-f]{{64}}, expected {SHA}"):
        fetch(target, url, sha256=SHA)
    assert not target.exists()


def test_a_length_that_nobody_knows_is_not_trusted(server: Any, target: Path) -> None:
    def unframed(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.body(DATA)
        handler.close_connection = True

    server.routes["/f"] = unframed
    with pytest.raises(InputError, match="does not say how long the file is"):
        fetch(target, server.url("/f"))
    assert fetch(target, server.url("/f"), sha256=SHA).bytes == len(DATA)


def test_wrong_bytes_are_never_moved_into_place(server: Any, target: Path) -> None:
    bad = server.file("/bad", b"y" * len(DATA))
    with pytest.raises(ChecksumError) as caught:
        fetch(target, bad, sha256=SHA, bytes=len(DATA))
    text = str(caught.value)
    assert bad in text and SHA in text and hashlib.sha256(b"y" * len(DATA)).hexdigest() in text and "--from" in text
    assert list(target.parent.iterdir()) == []
    good = server.file("/good", DATA)
    assert fetch(target, bad, good, sha256=SHA).source == good and is_clean(target)


def test_other_digests_and_prefixes_count(server: Any, target: Path) -> None:
    url = server.file("/f", DATA)
    sha1, md5 = hashlib.sha1(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
    for known in ({"others": {"md5": "0" * 32}}, {"others": {"sha1": "0" * 40}}, {"sha256_prefix": "00000000"}):
        with pytest.raises(ChecksumError, match="expected 00000000"):
            fetch(target, url, **known)
        assert not target.exists()
    fetch(target, url, others={"sha1": sha1, "md5": md5}, sha256_prefix=SHA[:8])
    assert is_clean(target)


def test_a_web_page_is_not_taken_for_a_file(server: Any, target: Path) -> None:
    with pytest.raises(InputError, match=r"web page \(text/html\)"):
        fetch(target, server.file("/f", b"<html>sign in</html>", kind="text/html; charset=utf-8"))
    with pytest.raises(InputError, match="web page instead of the file"):
        fetch(target, server.file("/f", b"  <!DOCTYPE html><p>gone"))
    with pytest.raises(InputError, match="an empty file"):
        fetch(target, server.file("/f", b""))
    assert not target.exists()


def test_an_encoding_is_not_taken_for_the_file(server: Any, target: Path) -> None:
    server.routes["/f"] = lambda handler: handler.plain(200, b"\x1f\x8b", Content_Encoding="gzip")
    with pytest.raises(InputError, match="sends it encoded as gzip"):
        fetch(target, server.url("/f"))
    assert fetch(target.with_name("x.tgz"), server.url("/f")).bytes == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_final(server: Any, target: Path, status: int) -> None:
    waits = Waits()
    server.routes["/f"] = lambda handler: handler.plain(status)
    with pytest.raises(InputError, match=f"/f: answers {status}"):
        fetch(target, server.url("/f"), with_policy=policy(waits))
    assert len(server.asked["/f"]) == 1 and waits == []


def test_a_busy_server_is_asked_again(server: Any, target: Path) -> None:
    waits = Waits()
    whole = functools.partial(server.file, data=DATA)
    whole("/f")
    inner = server.routes["/f"]
    server.routes["/f"] = lambda handler: handler.plain(503) if handler.number < 3 else inner(handler)
    fetch(target, server.url("/f"), with_policy=policy(waits))
    assert is_clean(target) and waits == [1.0, 2.0], "exponential"


def test_retry_after_is_heeded(server: Any, target: Path) -> None:
    waits = Waits()
    server.file("/f", DATA)
    inner = server.routes["/f"]
    server.routes["/f"] = lambda h: h.plain(429, Retry_After="7") if h.number == 1 else inner(h)
    fetch(target, server.url("/f"), with_policy=policy(waits))
    assert is_clean(target) and waits == [7.0]
    server.routes["/g"] = lambda handler: handler.plain(429, Retry_After="86400")
    with pytest.raises(InputError, match="asks to come back in 86400 s"):
        fetch(target.with_name("g"), server.url("/g"))


def test_retry_after_may_be_a_date() -> None:
    assert retry_after(email.utils.formatdate(1000.0, usegmt=True), 990.0) == pytest.approx(10.0)
    assert retry_after(email.utils.formatdate(1000.0, usegmt=True), 2000.0) == 0.0
    assert retry_after("soon", 0.0) is None and retry_after("", 0.0) is None


def test_a_server_that_is_always_busy_is_given_up(server: Any, target: Path) -> None:
    waits = Waits()
    server.routes["/f"] = lambda handler: handler.plain(500)
    with pytest.raises(InputError, match=r"answers 500 .*\(6 tries\)"):
        fetch(target, server.url("/f"), with_policy=policy(waits))
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_waits_are_jittered_and_bounded() -> None:
    assert Policy(jitter=lambda: 0.999).wait(1) == pytest.approx(0.5, abs=1e-3)
    assert Policy(jitter=lambda: 0.0, longest_wait=30).wait(20) == 30


def test_nobody_there(target: Path) -> None:
    with pytest.raises(InputError, match=r"no connection \(.*refused"):
        fetch(target, "http://127.0.0.1:9/f", with_policy=policy(attempts=2))


def test_a_stalled_connection_is_given_up_and_gone_on_with(server: Any, target: Path) -> None:
    over = threading.Event()

    def stalls(handler: Any) -> None:
        if handler.number > 1:
            return inner(handler)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.send_header("ETag", f'"{SHA[:16]}"')
        handler.end_headers()
        handler.body(DATA[:50_000])
        over.wait(60)
        handler.hang_up()

    server.file("/f", DATA)
    inner = server.routes["/f"]
    server.routes["/f"] = stalls
    fetch(target, server.url("/f"), with_policy=policy(stall=0.3))
    assert is_clean(target), "although the connection still stands"
    over.set()
    assert server.asked["/f"][1]["Range"] == "bytes=50000-"


def test_a_drip_is_a_stall(server: Any, target: Path) -> None:
    """A few bytes now and then keep a connection open, but bring no file."""
    url = server.file("/f", DATA, block=10, pause=0.05)
    with pytest.raises(InputError, match=r"slower than 1000 bytes/s"):
        fetch(target, url, with_policy=policy(stall=0.3, attempts=1))


def test_redirects(server: Any, target: Path) -> None:
    server.file("/f", DATA)
    server.routes["/a"] = lambda handler: handler.plain(302, Location="/b")
    server.routes["/b"] = lambda handler: handler.plain(307, Location=server.url("/f"))
    assert fetch(target, server.url("/a")).source == server.url("/a") and is_clean(target)
    server.routes["/loop"] = lambda handler: handler.plain(301, Location="/loop")
    for path, where in (("/file", "file:///etc/hostname"), ("/ftp", "ftp://127.0.0.1/x"), ("/none", "")):
        server.routes[path] = lambda handler, where=where: handler.plain(302, Location=where)
        with pytest.raises(InputError, match="redirects to"):
            fetch(target.with_name("other"), server.url(path))
    with pytest.raises(InputError, match="more than 8 redirects"):
        fetch(target.with_name("other"), server.url("/loop"))
    assert len(server.asked["/loop"]) == 9


def test_https_is_never_left(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificates on the loopback address the step itself is judged."""
    with pytest.raises(SourceError, match="from https to http://"):
        transfer.redirected("https://example.org/a", "http://example.org/a")
    assert transfer.redirected("http://example.org/a", "https://example.org/b") == "https://example.org/b"
    assert transfer.redirected("https://example.org/a/b", "../c") == "https://example.org/c"


def test_a_local_folder_is_a_source(server: Any, target: Path, tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    own = tmp_path / "usb" / "file.bin"
    own.write_bytes(DATA)
    got = fetch(target, str(tmp_path / "gone.bin"), str(own), server.file("/f", DATA), sha256=SHA)
    assert got.source == str(own) and target.read_bytes() == DATA and not server.asked
    own.write_bytes(DATA[:-1])
    target.unlink()
    assert fetch(target, str(own), server.url("/f"), sha256=SHA).source == server.url("/f")


def test_what_lies_there_is_taken_if_right_and_never_overwritten(server: Any, target: Path) -> None:
    url = server.file("/f", DATA)
    target.write_bytes(DATA)
    assert fetch(target, url, sha256=SHA).transferred == 0 and not server.asked
    target.write_bytes(b"mine")
    with pytest.raises(ChecksumError, match=r"lies there already.*\n.*nothing of yours is overwritten"):
        fetch(target, url, sha256=SHA)
    assert target.read_bytes() == b"mine"


def test_room_is_looked_for_first(server: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.file("/f", DATA)
    with pytest.raises(DiskFullError, match=rf"{len(DATA)} bytes to come.*\n.*\n.*goes on from there"):
        fetch(target, url, with_policy=policy(spare=1 << 60))
    assert server.sent["/f"] < len(DATA) or not target.exists()


def test_threads_that_want_one_file_fetch_it_once(server: Any, target: Path) -> None:
    url = server.file("/f", DATA, block=1 << 14, pause=0.002)
    got: list[Fetched] = []
    threads = [threading.Thread(target=lambda: got.append(fetch(target, url, sha256=SHA))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.transferred for each in got) == [0, 0, len(DATA)]
    assert server.sent["/f"] == len(DATA) and is_clean(target)


def test_chunks_are_put_together_and_a_cut_one_is_noticed(server: Any, target: Path) -> None:
    def chunked(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(DATA), 50_000):
            if handler.number < 3 and start >= 200_000:
                return handler.hang_up()
            piece = DATA[start : start + 50_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    server.routes["/f"] = chunked
    fetch(target, server.url("/f"))
    assert is_clean(target) and len(server.asked["/f"]) == 3


def test_a_wrong_range_is_not_appended(server: Any, target: Path) -> None:
    server.file("/f", DATA, drop=lambda number: 100_000 if number == 1 else None)
    inner = server.routes["/f"]

    def wrong(handler: Any) -> None:
        if handler.number != 2:
            return inner(handler)
        handler.plain(206, DATA[:10], Content_Range=f"bytes 0-9/{len(DATA)}")

    server.routes["/f"] = wrong
    fetch(target, server.url("/f"), sha256=SHA)
    assert is_clean(target) and len(server.asked["/f"]) == 3
