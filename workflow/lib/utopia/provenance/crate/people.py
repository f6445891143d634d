"""Who wrote the software, and who ran the study: what a crate says of people, and nothing that nobody told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from utopia.provenance.crate.content import README
from utopia.provenance.crate.naming import OPERATOR

_CITATION = "CITATION.cff"


@dataclass(frozen=True)
class Agent:
    """Who ran the study. Without a name, the crate says that the records name nobody."""

    name: str = ""
    orcid: str = ""
    affiliation: str = ""
    affiliation_url: str = ""


def operators(agent: Agent) -> tuple[str, str, list[dict[str, Any]]]:
    """The `@id` of who ran the study and of who publishes it, and the entities of both."""
    nobody = {
        "@id": OPERATOR,
        "@type": "Organization",
        "name": "whoever ran this study (its records name no person)",
        "url": {"@id": README},
    }
    if not agent.name:
        return OPERATOR, OPERATOR, [nobody]
    person: dict[str, Any] = {"@id": agent.orcid or "#agent", "@type": "Person", "name": agent.name}
    if not agent.affiliation:
        return person["@id"], OPERATOR, [person, nobody]
    organisation: dict[str, Any] = {
        "@id": agent.affiliation_url or "#affiliation",
        "@type": "Organization",
        "name": agent.affiliation,
        "url": agent.affiliation_url or {"@id": README},
    }
    return person["@id"], organisation["@id"], [{**person, "affiliation": {"@id": organisation["@id"]}}, organisation]


def authors(citation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entities of the software's authors, as `CITATION.cff` has them; the first ones are authors themselves."""
    place = home(citation)
    employers: dict[str, dict[str, Any]] = {}
    for number, author in enumerate(citation.get("authors") or [], 1):
        identifier = str(author.get("orcid") or f"#author-{number}")
        if "name" in author:
            url = author.get("website") or place
            yield {"@id": identifier, "@type": "Organization", "name": str(author["name"]), "url": url}
            continue
        name = " ".join(str(author[part]) for part in ("given-names", "family-names") if author.get(part))
        person: dict[str, Any] = {"@id": identifier, "@type": "Person", "name": name}
        if employer := author.get("affiliation"):
            own = {"@id": f"#employer-{len(employers) + 1}", "@type": "Organization", "name": employer, "url": place}
            person["affiliation"] = {"@id": employers.setdefault(str(employer), own)["@id"]}
        yield person
    yield from employers.values()


def home(citation: Mapping[str, Any]) -> Any:
    """Where the software is described: its address where the citation has one, else the citation itself."""
    return str(citation.get("repository-code") or citation.get("url") or "") or {"@id": _CITATION}
