"""What a published crate must not say: paths of a machine, and, asked, whose machine it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from utopia.provenance.job import sealed

_PLACE = re.compile(r"(?<![\w.~<>:/@%+-])/(?:[\w.@+%=,-]+/)+[\w.@+%=,-]*")
"""An absolute path of at least one folder; not part of an address, of a relative path or of `<data>/...`."""
_SYSTEM = re.compile(r"/(usr|etc|opt|lib|lib64|proc|sys|dev|bin|sbin|nix)/.*")
"""Folders that are alike on all machines and tell nothing."""
_SCHEDULER = re.compile(r"SLURM_.*")


class Machine:
    """Finds the folders of this machine in bytes.

    Args:
        folders: those that would tell whose machine it is: the working directory, the home, the data.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        spelled = {str(name) for folder in folders for name in (folder, folder.resolve()) if name != Path(name.anchor)}
        # Not inside a longer name: /home/me is not in /mnt/home/me, nor in /home/me-too.
        ends = "|".join(re.escape(text) for text in sorted(spelled, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![\w.~-])(?:{ends})(?=/|(?![\w-]|\.\w))".encode()) if spelled else None

    def found_in(self, content: bytes) -> str:
        """The first such folder in `content`; empty if there is none."""
        match = self._pattern.search(content) if self._pattern else None
        return match[0].decode(errors="replace") if match else ""

    def hidden_in(self, content: bytes) -> bytes:
        """`content` with every such folder replaced by `<hidden>`."""
        return self._pattern.sub(b"<hidden>", content) if self._pattern else content


def places(value: Any) -> Iterator[str]:
    """Absolute paths in the texts of a JSON value, of whatever machine."""
    for text in _texts(value):
        yield from (match[0] for match in _PLACE.finditer(text) if not _SYSTEM.fullmatch(match[0]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


class Anonymous:
    """Takes from records what tells machines and people apart, and seals them again.

    Hosts and GPUs become `host-1`, `gpu-2`, the same name for the same machine everywhere, so that what ran on one
    machine can still be told; the scheduler's variables and absolute paths go. Everything else stays.

    Args:
        records: the facts of all records, in the order in which the jobs ended.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._hosts: dict[str, str] = {}
        self._gpus: dict[str, str] = {}
        self._places: dict[str, int] = {}
        for facts in records:
            host = str(facts.get("host"))
            self._hosts.setdefault(host, f"host-{len(self._hosts) + 1}")
            for gpu in facts.get("gpu") or []:
                self._gpus.setdefault(str(gpu.get("uuid")), f"gpu-{len(self._gpus) + 1}")

    def record(self, content: bytes) -> bytes:
        """The bytes of a record without what would tell."""
        facts = json.loads(content)
        if "host" in facts:
            facts["host"] = self._hosts[str(facts["host"])]
        for gpu in facts.get("gpu") or []:
            gpu["uuid"] = self._gpus[str(gpu.get("uuid"))]
        variables = facts.get("environment", {}).get("variables", {})
        for name in [name for name in variables if _SCHEDULER.fullmatch(name)]:
            del variables[name]
        facts = sealed(self._without_places(facts))
        return (json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def _without_places(self, value: Any) -> Any:
        if isinstance(value, str):
            return _PLACE.sub(self._without_place, value)
        if isinstance(value, Mapping):
            return {self._without_places(key): self._without_places(item) for key, item in value.items()}
        return [self._without_places(item) for item in value] if isinstance(value, list) else value

    def _without_place(self, match: re.Match[str]) -> str:
        if _SYSTEM.fullmatch(match[0]):
            return match[0]
        folder, _, name = match[0].rstrip("/").rpartition("/")
        # Two files of one name in two folders stay two files.
        return f"<elsewhere>/{self._places.setdefault(folder, len(self._places) + 1)}/{name}"
