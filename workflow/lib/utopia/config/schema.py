"""What the typed models say, for editors (JSON schema) and for readers (the reference pages); both are generated.

`python -m utopia.config.schema --fix` writes them, `--check` (the default) tells whether they are up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from utopia.config.described import schema_of
from utopia.config.load import REPOSITORY
from utopia.config.page import pages
from utopia.config.study import study_model
from utopia.files import write_text

STUDY = Path("workflow/schemas/study.schema.json")
OVERLAY = Path("workflow/schemas/overlay.schema.json")
PAGES = Path("docs")
"""The reference pages: configuration.md and the folder configuration."""


def study_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of config.yaml."""
    schema = _in_one_line(schema_of(study_model()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _in_one_line(value: Any) -> Any:
    """The schema with every description in one line; editors wrap it."""
    if isinstance(value, list):
        return [_in_one_line(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key: " ".join(member.split()) if key == "description" and isinstance(member, str) else _in_one_line(member)
        for key, member in value.items()
    }


def overlay_schema() -> dict[str, Any]:
    """JSON schema of a study's overlay: the same keys, none of them required."""
    schema = _without_required(study_schema())
    assert isinstance(schema, dict)
    return schema | {"description": "What a study lays over config.yaml."}


def _without_required(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_required(member) for member in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_required(member) for key, member in value.items() if not _is_demand(key, member)}
    # Without its discriminator an entry may fit several members.
    return {"anyOf" if key == "oneOf" else key: member for key, member in kept.items() if key != "discriminator"}


def _is_demand(key: str, value: Any) -> bool:
    return key == "required" and isinstance(value, list)


@cache
def documents() -> dict[Path, str]:
    """The generated files, by their path in the repository; the models do not change while a process lives."""
    return {
        STUDY: _text(study_schema()),
        OVERLAY: _text(overlay_schema()),
        **{PAGES / name: text for name, text in pages(study_model()).items()},
    }


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def stale(repository: Path = REPOSITORY) -> list[Path]:
    """The generated files that are missing or not what the models say."""
    return [path for path, text in documents().items() if _read(repository / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str] | None = None, repository: Path = REPOSITORY) -> int:
    """Check or write the generated files; 0 if they are (now) up to date."""
    parser = argparse.ArgumentParser(prog="python -m utopia.config.schema", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--fix", action="store_true", help="write the files")
    choice.add_argument("--check", action="store_true", help="only tell (the default)")
    wanted = parser.parse_args(arguments)
    outdated = stale(repository)
    texts = documents() if outdated else {}
    for path in outdated:
        if wanted.fix:
            write_text(repository / path, texts[path])
        print(f"{path}: {'written' if wanted.fix else 'is not what the typed models say'}")
    if not outdated:
        print("the schemas and the reference pages are up to date")
    elif not wanted.fix:
        print("run: python -m utopia.config.schema --fix", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
