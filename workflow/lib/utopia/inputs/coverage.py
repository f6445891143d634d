"""Coverage of a study: what was expected, obtained and missing, counted by reason."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utopia.datasets._card import card
from utopia.datasets._common import MEDIA
from utopia.files import atomic, read_json

COLUMNS = ("dataset", "subject", "expected", "obtained", "missing", "reason", "items")


def report_coverage(
    *, manifests: Sequence[Path], indexes: Sequence[Path], output: Path, absent: Mapping[str, str] | None = None
) -> None:
    """Write the coverage table: per data set and subject one row per reason, or one row if nothing is missing.

    Subjects are `annotations`, `videos` (`songs`, of a data set of sound) and `feature:<name>`; of a data set whose
    list is in its own files also `annotations:<part>` and `videos:<part>`; of these the card may expect more than
    the files list. `unlisted videos` are there and in no list. `missing` counts the items of that row's reason, `items`
    names them (separated by spaces); in a reason, the item's own name and path are written `<item>`, so that equal
    causes count together.

    Args:
        manifests: manifests of the data sets that are there.
        indexes: feature indexes of these data sets.
        output: the CSV file.
        absent: data sets without any file, with the reason.
    """
    rows: list[dict[str, Any]] = []
    features = _features(indexes)
    for path in manifests:
        manifest = read_json(path)
        dataset, items = manifest["dataset"], [_published(item, manifest["root"]) for item in manifest["items"]]
        medium = MEDIA[manifest.get("medium", "video")]
        lacks = {
            "annotations": {item["id"]: item["reason"] for item in items if not item["present"]},
            medium.files: {item["id"]: item["video_reason"] for item in items if medium.role not in item["files"]},
        }
        for subject, missing in lacks.items():
            rows += _rows(dataset, subject, items, missing)
            for part, listed in _parts(manifest).items():
                of_part = [item for item in items if item.get("part") == part]
                rows += _rows(dataset, f"{subject}:{part}", of_part, missing, listed, _not_listed(manifest, part))
        if manifest.get("unlisted"):
            rows.append(_unlisted(dataset, medium.files, manifest["unlisted"]))
        for feature, found in sorted(features[dataset].items()):
            lacking = {item["id"]: _why(item, found) for item in items if found.get(item["id"]) != ""}
            rows += _rows(dataset, f"feature:{feature}", items, lacking)
    for dataset, reason in sorted((absent or {}).items()):
        items = [{"id": item.id, "key": item.key} for item in card(dataset).items]
        listed = sum(part.listed for part in card(dataset).parts.values())
        rows += _rows(dataset, "annotations", items, {item["id"]: reason for item in items}, listed, reason)
    with atomic(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _features(indexes: Iterable[Path]) -> dict[str, dict[str, dict[str, str]]]:
    """data set -> feature -> item -> reason of absence, empty where the feature is there."""
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for path in indexes:
        index = read_json(path)
        for item, entries in index["items"].items():
            for feature, entry in entries.items():
                found[index["dataset"]][feature][item] = entry.get("absent", "")
    return found


def _published(item: Mapping[str, Any], root: str) -> dict[str, Any]:
    """The item with `<data>` for the place of the user's data folder in its reasons: the table is published."""
    folder = f"<data>/{Path(root).name}"
    return {**item, **{name: item[name].replace(root, folder) for name in ("reason", "video_reason")}}


def _why(item: Mapping[str, Any], found: Mapping[str, str]) -> str:
    """Why a feature of an item is missing; an item in no index was never tried."""
    return found.get(item["id"]) or item["video_reason"] or item["reason"] or "no job was asked for it"


def _parts(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Part -> items on the official list; 0 where only the files tell."""
    found = dict.fromkeys((item["part"] for item in manifest["items"] if "part" in item), 0)
    return {**found, **manifest.get("parts", {})}


def _not_listed(manifest: Mapping[str, Any], part: str) -> str:
    """Why a part lists fewer items than the official list has."""
    if any(item.get("part") == part for item in manifest["items"]):
        return f"on the official list, but not in the file of the part {part}"
    return manifest["missing"].get("unlabelled", f"no file lists the part {part}").replace(manifest["root"], "<folder>")


def _unlisted(dataset: str, subject: str, paths: Sequence[str]) -> dict[str, Any]:
    stems = " ".join(Path(path).stem for path in paths)
    row = {"dataset": dataset, "subject": f"unlisted {subject}", "expected": 0, "obtained": len(paths), "missing": 0}
    return row | {"reason": "no file of the data set lists them; they are not used", "items": stems}


def _rows(
    dataset: str,
    subject: str,
    items: Sequence[Mapping[str, Any]],
    missing: Mapping[str, str],
    listed: int = 0,
    not_listed: str = "",
) -> list[dict[str, Any]]:
    """Rows of a subject; `listed`: how many items are expected if that is more, `not_listed`: why there are fewer."""
    missing = {item["id"]: missing[item["id"]] for item in items if item["id"] in missing}
    expected = max(len(items), listed)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if item["id"] in missing:
            by_reason[_general(missing[item["id"]], item)].append(item["id"])
    fixed = {"dataset": dataset, "subject": subject, "expected": expected, "obtained": len(items) - len(missing)}
    rows = [
        fixed | {"missing": len(ids), "reason": reason, "items": " ".join(ids)} for reason, ids in by_reason.items()
    ]
    if expected > len(items):
        rows.append(fixed | {"missing": expected - len(items), "reason": not_listed, "items": ""})
    return rows or [fixed | {"missing": 0, "reason": "", "items": ""}]


def _general(reason: str, item: Mapping[str, Any]) -> str:
    """The reason with every word that holds the item's key or id (paths among them) written `<item>`, on one line."""
    # A key that is a number names the item only where it is a file's stem or is called a song.
    key = rf"(?<=/){item['key']}(?=\.\D)|(?<=song ){item['key']}" if item["key"].isdecimal() else re.escape(item["key"])
    names = f"{key}|{re.escape(item['id'])}"
    return re.sub(rf"[^\s:,;()]*(?:{names})(?!\w)[^\s:,;()]*", "<item>", " ".join(reason.split()))
