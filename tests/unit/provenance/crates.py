"""What tests of crates share: how a crate of the small study is made, and how its profile's validator is run."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from studies import ROOT
from urllib3 import HTTPResponse

from utopia import files
from utopia.provenance.crate import naming
from utopia.provenance.crate.agreement import Crate
from utopia.provenance.crate.build import Options, Written, build
from utopia.provenance.job import sealed
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
DATA = Path(__file__).resolve().parents[2] / "data"
PROFILE = "provenance-run-crate-0.5"
METADATA = "ro-crate-metadata.json"


def write(study: Path, checkout: Path, target: Path, **options: Any) -> Written:
    """The crate of the study that lies in a working directory."""
    ledger = Ledger.read(study / ROOT, base=study, roots=options.pop("roots", None))
    return build(Graph(ledger, ROOT), study / ROOT, "miniature", target, checkout, Options(**options))


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    """The entities of a crate's folder by `@id`."""
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return {each["@id"]: each for each in graph}


def edit_metadata(crate: Path, change: Callable[[dict[str, Any]], Any], *, reseal: bool = True) -> None:
    """Change entities; `reseal` gives the metadata the seal that fits."""
    value = json.loads((crate / METADATA).read_text())
    found = {each["@id"]: each for each in value["@graph"]}
    change(found)
    value["@graph"] = list(found.values())
    if reseal:
        found["#metadata-seal"]["value"] = naming.metadata_seal(found.values())
    files.write_json(crate / METADATA, value)


def agree(crate: Path, *names: str) -> None:
    """Make the metadata agree with files that were changed, and with the seal of the records."""

    def change(found: dict[str, Any]) -> None:
        for name in names:
            content = (crate / name).read_bytes()
            entity = next(each for each in found.values() if each.get("name") == name)
            entity |= {"sha256": hashlib.sha256(content).hexdigest(), "contentSize": str(len(content))}
        found["#seal"]["value"] = Crate(crate).graph.seal()

    edit_metadata(crate, change)


def edit_record(crate: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a record, and give it the digest that fits."""
    facts = json.loads((crate / name).read_text())
    change(facts)
    files.write_json(crate / name, sealed(facts))


def add_a_person(found: dict[str, Any]) -> None:
    """An author who had no part in it."""
    found["#other"] = {"@id": "#other", "@type": "Person", "name": "Another"}
    found["./"]["author"] = {"@id": "#other"}


def validate(crate: Path, scratch: Path) -> dict[str, Any]:
    """The report of rocrate-validator, without any network, at the severities REQUIRED and RECOMMENDED."""
    cache, report = scratch / "cache", scratch / "report.json"
    warm(cache)
    command = [
        str(Path(sys.executable).with_name("rocrate-validator")), "-y", "validate", "--offline", "--no-paging", "-v",
        "--cache-path", str(cache), "-p", PROFILE, "-l", "recommended", "-f", "json", "-o", str(report), str(crate),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=scratch)
    assert report.is_file() and report.stat().st_size, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def warm(cache: Path) -> None:
    """Put the one document that the validator would get from the network into its cache: the context of RO-Crate 1.1.

    It is the published one (CC0), as `rocrate` 0.13.0 brought it; later versions bring that of RO-Crate 1.3, in which
    the workflow terms have other addresses, and the profile is one of RO-Crate 1.1.
    """
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        session.mount(CONTEXT, _Stored((DATA / "ro-crate-1.1-context.jsonld").read_bytes()))
        assert session.get(CONTEXT).json()["@id"] == CONTEXT


class _Stored(HTTPAdapter):
    """Answers with a document at hand."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self._document = document

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        headers = {"Content-Type": "application/ld+json"}
        answer = HTTPResponse(io.BytesIO(self._document), headers=headers, status=200, preload_content=False)
        return self.build_response(request, answer)
