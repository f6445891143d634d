"""How a crate names files, jobs and code: one way, that who writes a crate and who checks it both follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from utopia.files import digest
from utopia.provenance.hashing import FileState

_SAFE = "/@=,:+~"
RUN, ENGINE_RUN, SEAL, OPERATOR = "#run", "#engine-run", "#seal", "#operator"
METADATA_SEAL, VERDICT = "#metadata-seal", "#verdict"
REFERRED, DATASET = "#file/", "#data/"
"""What the names of files that are not in the crate, and of data sets, begin with."""
_CODE = "https://identifiers.org/swh:1:cnt:"
FEW = 8
"""Files that are only referred to are named one by one up to here; more of them are one set."""

_FORMATS = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".html": "text/html",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".smk": "text/x-snakemake",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".toml": "application/toml",
    ".rst": "text/x-rst",
    ".txt": "text/plain",
    ".in": "text/plain",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".h5": "application/x-hdf5",
}
_TEXTS = {"LICENSE": "text/plain", "Snakefile": "text/x-snakemake"}


def file_id(name: str) -> str:
    """A file of the crate."""
    return quote(name)


def file_of(identifier: str) -> str | None:
    """The file in the crate that an `@id` names; None for everything else."""
    if identifier.startswith("#") or ":" in identifier.split("/", 1)[0] or identifier.endswith("/"):
        return None
    return unquote(identifier)


def reference(path: str) -> str:
    """A file that is not in the crate, by the path that records give it."""
    return f"{REFERRED}{quote(path, safe=_SAFE)}"


def referred_path(identifier: str) -> str | None:
    """The path of a file that is not in the crate; None for everything else."""
    return unquote(identifier.removeprefix(REFERRED)) if identifier.startswith(REFERRED) else None


def job(path: str) -> str:
    """The job whose first output a path is."""
    return f"#job/{quote(path, safe=_SAFE)}"


def control(path: str) -> str:
    """That the engine started this job."""
    return f"#control/{quote(path, safe=_SAFE)}"


def step(rule: str) -> str:
    """A rule of the workflow."""
    return f"#step/{quote(rule, safe=_SAFE)}"


def set_of(references: Iterable[str]) -> str:
    """A set of files that are not in the crate; jobs that read the same ones name the same set."""
    return f"#files/{digest(sorted(references))}"


def metadata_seal(entities: Iterable[Mapping[str, Any]]) -> str:
    """One digest of everything that the metadata say, but for the seal itself."""
    return digest(sorted((dict(entity) for entity in entities if entity["@id"] != METADATA_SEAL), key=_by_id), 64)


def crate_digest(hashed: Mapping[str, FileState]) -> str:
    """One digest of a crate's names and contents."""
    return digest(sorted([name, facts.sha256] for name, facts in hashed.items()), 64)


def _by_id(entity: Mapping[str, Any]) -> str:
    return str(entity["@id"])


def code(content: bytes) -> str:
    """A program, by the Software Heritage identifier of its text: it names this text and no other, wherever it is."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return f"{_CODE}{blob}"


def is_code(identifier: str) -> bool:
    """Whether an `@id` names a program."""
    return identifier.startswith(_CODE)


def moment(text: str) -> str:
    """A time of a record as the profile wants it: with an offset instead of `Z`."""
    return text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text


def suffix_format(name: str) -> str:
    """The media type of a file, by its name."""
    return _TEXTS.get(name) or _FORMATS.get(Path(name).suffix.lower(), "application/octet-stream")


def ids(value: Any) -> set[str]:
    """The `@id`s in a property's value."""
    return {item["@id"] for item in listed(value) if isinstance(item, dict) and isinstance(item.get("@id"), str)}


def listed(value: Any) -> list[Any]:
    """The values of a property, which JSON-LD writes alone where there is one."""
    return value if isinstance(value, list) else [] if value is None else [value]
