"""Files as records describe them: `{path, sha256, bytes}`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from utopia import files
from utopia.provenance.paths import Portable

Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """What changes when a file is replaced or rewritten (inode, bytes, time); None where there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, 0 if path.is_dir() else status.st_size, status.st_mtime_ns)


def describe(paths: Iterable[Path], portable: Portable) -> dict[Path, dict[str, Any]]:
    """Hash every file once.

    A folder's entry also has `files`, the entries of all files in it, and its hash is that of their names and hashes;
    hidden files (Snakemake's own, the index of EEV's tables) come and go without a change of what it holds.
    What does not exist has the hash and size None.
    """
    hashed: dict[str, dict[str, Any]] = {}
    return {path: dict(_entry(path, portable, hashed)) for path in dict.fromkeys(paths)}


def top_level(paths: Iterable[Path]) -> list[Path]:
    """The paths that lie in no other one of them, in order: what lies in a folder is described with the folder."""
    unique = list(dict.fromkeys(paths))
    known = set(unique)
    return [path for path in unique if known.isdisjoint(path.parents)]


def moment(path: Path | None) -> int:
    """Now, in nanoseconds, by the clock of the file system on which `path` was just written; by ours without one."""
    return time.time_ns() if path is None or not path.exists() else path.stat().st_mtime_ns


def older(paths: Iterable[Path], moment_ns: int) -> list[Path]:
    """The files that were last written before a moment."""
    return [path for path in dict.fromkeys(paths) if path.is_file() and path.stat().st_mtime_ns < moment_ns]


def _entry(path: Path, portable: Portable, hashed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = portable.write(path)
    if path.is_dir():
        members = [
            path_inside
            for path_inside in sorted(path.rglob("*"))
            if path_inside.is_file() and not path_inside.name.startswith(".")
        ]
        entries = [_file(member, portable.write(member), hashed) for member in members]
        listing = [[entry["path"].removeprefix(f"{name}/"), entry["sha256"]] for entry in entries]
        total = sum(entry["bytes"] for entry in entries)
        return {"path": name, "sha256": files.digest(listing, 64), "bytes": total, "files": entries}
    return _file(path, name, hashed) if path.exists() else {"path": name, "sha256": None, "bytes": None}


def _file(path: Path, name: str, hashed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in hashed:
        hashed[name] = {"path": name, "sha256": files.sha256(path), "bytes": path.stat().st_size}
    return hashed[name]
