"""One exchange with a server: ask for a file or the rest of it, and append what comes to the part file.

`requests` (a dependency of Snakemake, so already in the lock) brings proxies, certificates and `.netrc` of the user's
environment; redirects, ranges and lengths are judged here.
"""

from __future__ import annotations

import email.utils
import errno
import hashlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from utopia import __version__
from utopia.errors import UtopiaError, counted, shortened
from utopia.files import read_json, write_json

if TYPE_CHECKING:
    from hashlib import _Hash

_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PAGES = (".html", ".htm", ".php", ".xml")


class Progress(Protocol):
    """Told after each block: bytes there, and bytes expected (None: not known)."""

    def __call__(self, done: int, total: int | None) -> None: ...


@dataclass(frozen=True)
class Policy:
    """How patient and how careful to be."""

    attempts: int = 6
    """Tries of one source in a row that bring nothing new."""
    first_wait: float = 1.0
    """Seconds before the second try; doubled for each further one."""
    longest_wait: float = 300.0
    """Most seconds between two tries; a server that asks for more is given up."""
    connect: float = 20.0
    """Seconds for a connection."""
    stall: float = 60.0
    """Seconds without a byte, or with fewer than `slowest` a second, after which a connection is given up."""
    slowest: int = 1000
    """Bytes per second."""
    redirects: int = 8
    spare: int = 64 << 20
    """Bytes of the disk to leave free."""
    block: int = 1 << 20
    """Most bytes per read."""
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number in [0, 1) for each wait, so that many clients do not come back at once."""

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: exponential; the jitter takes up to half."""
        return min(self.longest_wait, self.first_wait * 2 ** (failures - 1)) * (1 - self.jitter() / 2)


class SourceError(Exception):
    """This source cannot give the file: what it answered, in one sentence."""


class TemporaryError(SourceError):
    """It may give the file later; `after`: seconds that it asks to wait."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


class DiskFullError(UtopiaError):
    """There is no room for a file."""


@dataclass
class PartFile:
    """The part file of a download and its running hash; its sidecar says whose bytes it holds.

    Args:
        path: the hidden file that grows.
    """

    path: Path
    size: int = 0
    hash: _Hash = field(default_factory=hashlib.sha256)
    resumed: bool = False
    """Whether its bytes came in several answers."""

    @property
    def sidecar(self) -> Path:
        """The JSON file beside it."""
        return self.path.with_name(self.path.name + ".json")

    def clear(self) -> None:
        """Start again."""
        self.path.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)
        self.size, self.hash, self.resumed = 0, hashlib.sha256(), False

    def told(self) -> dict[str, Any]:
        """What the sidecar says; empty if it is not there or not readable."""
        try:
            told = read_json(self.sidecar)
        except UtopiaError:
            return {}
        return told if isinstance(told, dict) else {}

    def begin(self, told: dict[str, Any]) -> None:
        """Write the sidecar."""
        write_json(self.sidecar, told)

    def take_up(self) -> None:
        """Hash what is there already."""
        self.size, self.hash = 0, hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                self.hash.update(block)
                self.size += len(block)
        self.resumed = self.size > 0

    def append(self, file: IO[bytes], block: bytes) -> None:
        """Add bytes.

        Raises:
            DiskFullError: the disk is full, or the file may not grow further.
        """
        try:
            file.write(block)
        except OSError as error:
            if error.errno in FULL:
                raise full(self.path, error.strerror or "no room") from error
            raise
        self.hash.update(block)
        self.size += len(block)


def full(path: Path, what: str) -> DiskFullError:
    """The error for a disk without room."""
    return DiskFullError(
        f"cannot store the download ({what})",
        where=path.parent,
        why="the file is not complete; what has come so far is kept",
        remedy="free disk space (`df -h`) and run the same command again: it goes on from there",
    )


def refuse_without_room(folder: Path, needed: int, policy: Policy) -> None:
    """Raise DiskFullError if `needed` bytes and the policy's spare do not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed + policy.spare > free:
        raise full(folder / "x", f"{needed} bytes to come, {free} free")


def session() -> requests.Session:
    """A session that names this project to servers."""
    made = requests.Session()
    made.headers.update({"User-Agent": f"utopia-reproduction/{__version__}", "Accept-Encoding": "identity"})
    return made


def ask(http: requests.Session, url: str, headers: dict[str, str], policy: Policy) -> requests.Response:
    """The answer to a request, after redirects.

    Raises:
        TemporaryError: no connection, or the server says to come back.
        SourceError: the server refuses, or leads in a circle or from https to http.
    """
    for _ in range(policy.redirects + 1):
        try:
            answer = http.get(
                url, headers=headers, stream=True, allow_redirects=False, timeout=(policy.connect, policy.stall)
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise SourceError(f"not an address that can be asked: {url}") from None
        except requests.exceptions.SSLError as error:
            raise SourceError(f"its certificate is not accepted ({_short(error)})") from error
        except requests.exceptions.RequestException as error:
            raise TemporaryError(f"no connection ({_short(error)})") from error
        if answer.status_code not in _REDIRECTS:
            return _accepted(answer, policy)
        answer.close()
        url = redirected(url, answer.headers.get("Location", ""))
    raise SourceError(f"more than {policy.redirects} redirects, the last one to {url}")


def redirected(url: str, location: str) -> str:
    """The address that an answer refers to.

    Raises:
        SourceError: there is none, it is not of the web, or it leaves https.
    """
    target = urljoin(url, location)
    if not location or urlsplit(target).scheme not in ("http", "https"):
        raise SourceError(f"redirects to {location or 'nowhere'}")
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise SourceError(f"redirects from https to {target}, where anybody on the way could change the bytes")
    return target


def _accepted(answer: requests.Response, policy: Policy) -> requests.Response:
    status = answer.status_code
    if status in (200, 206, 416):
        return answer
    answer.close()
    said = f"answers {status} {answer.reason or ''}".strip()
    if status in _TEMPORARY:
        after = retry_after(answer.headers.get("Retry-After", ""), time.time())
        if after is not None and after > policy.longest_wait:
            raise SourceError(f"{said} and asks to come back in {after:.0f} s")
        raise TemporaryError(said, after)
    raise SourceError(said)


def retry_after(text: str, now: float) -> float | None:
    """Seconds of a `Retry-After` header (a number or a date); None if there is none that can be read."""
    if text.strip().isdecimal():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, date.timestamp() - now)


def receive(
    answer: requests.Response, part: PartFile, total: int | None, policy: Policy, progress: Progress | None
) -> None:
    """Append the body of an answer to the part file, up to its end.

    Args:
        total: the size of the whole file, where it is known.

    Raises:
        TemporaryError: the connection dropped or stalled; what came is kept.
        SourceError: more came than the file has.
        DiskFullError: there is no room for it.
    """
    began, here = time.monotonic(), 0
    with part.path.open("ab") as file:
        while True:
            try:
                block = answer.raw.read1(policy.block, decode_content=False)
            except urllib3.exceptions.ReadTimeoutError:
                raise TemporaryError(f"nothing came for {policy.stall:g} s, at byte {part.size}") from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise TemporaryError(f"the connection ended at byte {part.size} ({_short(error)})") from error
            if not block:
                break
            if total is not None and part.size + len(block) > total:
                raise SourceError(f"sends more than the {counted(total, 'byte')} that the file has")
            part.append(file, block)
            here += len(block)
            if progress is not None:
                progress(part.size, total)
            if (passed := time.monotonic() - began) > policy.stall:
                if here < policy.slowest * passed:
                    raise TemporaryError(f"slower than {policy.slowest} bytes/s, at byte {part.size}")
                began, here = time.monotonic(), 0
    if total is not None and part.size < total:
        raise TemporaryError(f"the connection ended at byte {part.size} of {total}")


def refuse_other(answer: requests.Response, name: str) -> None:
    """Refuse what is not the file's own bytes: a login, consent or error page with status 200, or an encoding of it."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not name.lower().endswith(_PAGES):
        raise SourceError(f"sends a web page ({kind}) instead of the file")
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    # Some servers call the gzip inside a .tgz an encoding; the bytes are the file's all the same.
    if encoding not in ("", "identity") and not name.lower().endswith((".gz", ".tgz")):
        raise SourceError(f"sends it encoded as {encoding}, which was not asked for")


def _short(error: BaseException) -> str:
    reason: Any = error
    while getattr(reason, "reason", None) is not None and isinstance(reason.reason, BaseException):
        reason = reason.reason
    if isinstance(reason, requests.exceptions.RequestException) and reason.args:
        inner = getattr(reason.args[0], "reason", reason.args[0])
        reason = inner if isinstance(inner, BaseException) else reason
    text = " ".join(str(reason).split()) or type(reason).__name__
    return shortened(text, 160)
