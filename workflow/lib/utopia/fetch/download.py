"""One file from the first of several sources that gives the right bytes: resumed, verified, then moved into place.

While it comes, a file is `.<name>.part` with a sidecar `.<name>.part.json` beside its later place; it takes that place
only when its size and digests are the expected ones. A killed download goes on where it was, from the same source if
that still has the same version of the file (its ETag or date, by `If-Range`), from any source if its sha256 is known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.errors import ChecksumError, InputError
from utopia.fetch.record import locked

if TYPE_CHECKING:
    import requests

    from utopia.fetch.transfer import PartFile, Policy, Progress

_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Wanted:
    """A file and what is known of it."""

    target: Path
    """Where it shall lie."""
    sources: Sequence[str]
    """Addresses (http, https) and paths of local files, in the order of trying."""
    sha256: str | None = None
    sha256_prefix: str | None = None
    """The first digits of the sha256, where no more is published (`googlenet-1378be20.pth`)."""
    bytes: int | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    """Further published digests by algorithm: `md5`, `sha1`."""

    def unlike(self, sha256: str, size: int, path: Path) -> str:
        """How a file differs from what is known; empty if it does not."""
        if self.bytes is not None and size != self.bytes:
            return f"has {size} bytes, expected {self.bytes}"
        expected = self.sha256 or self.sha256_prefix or ""
        if not sha256.startswith(expected):
            return f"its sha256 is {sha256}, expected {expected}{'' if self.sha256 else '...'}"
        for algorithm, digest in self.others.items():
            actual = _digest(path, algorithm)
            if actual != digest:
                return f"its {algorithm} is {actual}, expected {digest}"
        return ""


@dataclass(frozen=True)
class Fetched:
    """A file in place."""

    path: Path
    source: str
    sha256: str
    bytes: int
    transferred: int
    """Bytes that came now; fewer than `bytes` when a download was resumed, 0 when another process had fetched it."""
    etag: str = ""


class _WrongBytesError(Exception):
    """All bytes came, and they are not the file."""


def download(
    wanted: Wanted,
    policy: Policy | None = None,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> Fetched:
    """Get a file from the first source that gives it.

    Another process that fetches the same file is waited for. A file that is in place when its turn comes is taken if it
    is the wanted one.

    Args:
        progress: called with (bytes there, bytes expected or None).
        waiting: called once if another process is fetching this file.

    Raises:
        ChecksumError: what the sources gave, or what lies in place, is not the file; nothing was moved into place.
        InputError: no source gave it; the message names each and what it answered.
        DiskFullError: there is no room for it.
    """
    from utopia.fetch.transfer import PartFile, Policy, SourceError

    policy = policy or Policy()
    with locked(wanted.target, waiting):
        if wanted.target.exists():
            return _in_place(wanted)
        part = PartFile(wanted.target.with_name(f".{wanted.target.name}.part"))
        answers, wrong = [], False
        for source in wanted.sources:
            before = _Counter(progress)
            try:
                etag = _try(source, wanted, part, policy, before)
            except _WrongBytesError as error:
                answers.append(f"{source}: {error}")
                wrong = True
                part.clear()
            except SourceError as error:
                answers.append(f"{source}: {error}")
            else:
                return _move(wanted, part, source, etag, before.came)
    what = "; ".join(answers) if answers else "no source is known"
    raise (ChecksumError if wrong else InputError)(
        f"cannot be fetched: {what}",
        where=wanted.target,
        why="nothing is put into place unless it is the published file",
        remedy="run the same command again later (it goes on where it was), name a mirror with --mirror, or get the "
        "file elsewhere and name its folder with --from",
    )


class _Counter:
    """Bytes that come over the wire (or from a folder) while a source is tried."""

    def __init__(self, progress: Progress | None) -> None:
        self.came, self._last, self._progress = 0, 0, progress

    def start(self, size: int) -> None:
        self._last = size

    def __call__(self, done: int, total: int | None) -> None:
        self.came += done - self._last
        self._last = done
        if self._progress is not None:
            self._progress(done, total)


def _in_place(wanted: Wanted) -> Fetched:
    from utopia.files import sha256

    size, digest = wanted.target.stat().st_size, sha256(wanted.target)
    unlike = wanted.unlike(digest, size, wanted.target)
    if unlike:
        raise ChecksumError(
            f"a file of this name lies there already, and it is not the published one: {unlike}",
            where=wanted.target,
            why="nothing of yours is overwritten",
            remedy="move it away or delete it, and fetch again",
        )
    return Fetched(wanted.target, "in place", digest, size, 0)


def _try(source: str, wanted: Wanted, part: PartFile, policy: Policy, progress: _Counter) -> str:
    """Bring the part file to its end from one source, and check it. Gives the ETag."""
    if not source.startswith(("http://", "https://")):
        _copy(Path(source), wanted, part, policy, progress)
        _check(wanted, part)
        return ""
    etag = _insist(source, wanted, part, policy, progress)
    try:
        _check(wanted, part)
    except _WrongBytesError:
        if not part.resumed:
            raise
        # What was there before may have been another version, or damaged: once more, all from here.
        part.clear()
        etag = _insist(source, wanted, part, policy, progress)
        _check(wanted, part)
    return etag


def _copy(source: Path, wanted: Wanted, part: PartFile, policy: Policy, progress: _Counter) -> None:
    from utopia.fetch.transfer import SourceError, refuse_without_room

    part.clear()
    progress.start(0)
    try:
        total = source.stat().st_size
        refuse_without_room(part.path.parent, total, policy)
        with source.open("rb") as reader, part.path.open("wb") as file:
            while block := reader.read(policy.block):
                part.append(file, block)
                progress(part.size, total)
    except OSError as error:
        raise SourceError(f"cannot be copied ({error.strerror or error})") from error


def _insist(url: str, wanted: Wanted, part: PartFile, policy: Policy, progress: _Counter) -> str:
    """Ask until the file is whole; only tries that bring nothing new are counted."""
    from utopia.fetch.transfer import SourceError, TemporaryError, session

    failures, furthest = 0, -1
    with session() as http:
        while True:
            try:
                return _once(http, url, wanted, part, policy, progress)
            except TemporaryError as error:
                # A server that lies about the length ends "too early"; the digest knows better.
                if wanted.sha256 and part.size and part.hash.hexdigest() == wanted.sha256:
                    return str(part.told().get("etag", ""))
                failures = failures + 1 if part.size <= furthest else 1
                furthest = max(furthest, part.size)
                if failures >= policy.attempts:
                    raise SourceError(f"{error} ({failures} tries)") from error
                policy.sleep(policy.wait(failures) if error.after is None else error.after)


def _once(http: requests.Session, url: str, wanted: Wanted, part: PartFile, policy: Policy, progress: _Counter) -> str:
    from utopia.fetch.transfer import SourceError, TemporaryError, ask, receive, refuse_other, refuse_without_room

    headers = _resume(url, wanted, part)
    with ask(http, url, headers, policy) as answer:
        if answer.status_code == 416:
            told = part.told()
            if part.size and _whole_size(answer) == part.size and told.get("length") in (None, part.size):
                return str(told.get("etag", ""))
            part.clear()
            kind = TemporaryError if headers else SourceError
            raise kind("states one length and gives another: it refuses the range that is missing")
        refuse_other(answer, wanted.target.name)
        part.resumed = part.resumed or answer.status_code == 206
        if answer.status_code == 206 and _begins_at(answer) != part.size:
            part.clear()
            raise TemporaryError("sends another range than the one asked for")
        if answer.status_code == 200 and part.size:
            part.clear()  # it ignores ranges, or the file has changed since
        announced = _whole_size(answer)
        if wanted.bytes is not None and announced not in (None, wanted.bytes):
            raise SourceError(f"its file has {announced} bytes, expected {wanted.bytes}")
        total = wanted.bytes if wanted.bytes is not None else announced
        chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        if total is None and not chunked and not wanted.sha256:
            raise SourceError("does not say how long the file is: a cut-off one could not be told from a whole one")
        refuse_without_room(part.path.parent, max(0, (total or 0) - part.size), policy)
        etag = answer.headers.get("ETag", "")
        if not part.size:
            part.begin(
                {
                    "source": url,
                    "etag": etag,
                    "modified": answer.headers.get("Last-Modified", ""),
                    "length": total,
                    "sha256": wanted.sha256,
                    "boot": _boot(),
                }
            )
        progress.start(part.size)
        # A digest outvotes the length that a server states; without one the stated length is all there is.
        receive(answer, part, total, policy, progress)
        return etag


def _resume(url: str, wanted: Wanted, part: PartFile) -> dict[str, str]:
    """Headers that ask for the rest of the part file; none where its bytes cannot be continued."""
    told = part.told()
    same_file = bool(wanted.sha256) and told.get("sha256") == wanted.sha256
    validator = _validator(told) if told.get("source") == url else ""
    # After a crash of the machine the end of the part may be zeros; only a known digest would notice.
    usable = same_file or (validator and told.get("boot") == _boot() and not wanted.sha256)
    if not part.path.exists() or not usable:
        part.clear()
        return {}
    if part.size != part.path.stat().st_size:
        part.take_up()
    if not part.size:
        return {}
    return {"Range": f"bytes={part.size}-"} | ({"If-Range": validator} if validator else {})


def _validator(told: Mapping[str, Any]) -> str:
    etag = str(told.get("etag") or "")
    return etag if etag and not etag.startswith("W/") else str(told.get("modified") or "")


@cache
def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _begins_at(answer: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _whole_size(answer: requests.Response) -> int | None:
    """The size of the whole file as the server states it."""
    if answer.status_code in (206, 416):
        match = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
        return int(match[1]) if match else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _check(wanted: Wanted, part: PartFile) -> None:
    if not part.path.exists():
        part.path.touch()  # an empty file
    unlike = wanted.unlike(part.hash.hexdigest(), part.size, part.path)
    if unlike:
        raise _WrongBytesError(f"sends another file: {unlike}")
    if not (wanted.sha256 or wanted.sha256_prefix):
        with part.path.open("rb") as file:
            if _HTML.match(file.read(200)) and not wanted.target.name.lower().endswith((".html", ".htm")):
                raise _WrongBytesError("sends a web page instead of the file")
        if not part.size:
            raise _WrongBytesError("sends an empty file")


def _move(wanted: Wanted, part: PartFile, source: str, etag: str, came: int) -> Fetched:
    with part.path.open("rb+") as file:
        os.fsync(file.fileno())
    part.path.replace(wanted.target)
    part.sidecar.unlink(missing_ok=True)
    return Fetched(wanted.target, source, part.hash.hexdigest(), part.size, came, etag)


def _digest(path: Path, algorithm: str) -> str:
    made = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            made.update(block)
    return made.hexdigest()
