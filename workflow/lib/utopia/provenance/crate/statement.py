"""What a crate says that neither its files nor its records tell: people, title, verdict, the origin of raw files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utopia import __version__
from utopia.provenance.crate import naming
from utopia.provenance.crate.content import CITATION, README

_PERSON, _ORGANISATION = "#agent", "#affiliation"
"""Who has no address of their own."""
TITLE = ("Study ", ": tables, figures and their provenance")
"""What stands before and after the study's name."""
SOUND = "sound"
"""The verdict on a study in which `utopia verify` finds nothing."""


@dataclass(frozen=True)
class Agent:
    """Who ran the study. Without a name, the crate says that the records name nobody."""

    name: str = ""
    orcid: str = ""
    affiliation: str = ""
    affiliation_url: str = ""


@dataclass(frozen=True)
class Statement:
    """What a crate says that neither its files nor its records tell."""

    study: str
    """The study's name."""
    agent: Agent = field(default_factory=Agent)
    """Who ran it."""
    unsound: Sequence[str] = ()
    """What `utopia verify` has found; nothing where the study is sound."""
    origins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Path -> `{dataset, licence, source}` of files that are only referred to."""
    version: str = __version__
    """The version of the program that wrote the crate."""


def statement_of(entities: Mapping[str, Mapping[str, Any]]) -> Statement:
    """What the metadata of a crate says beyond its files and records.

    Args:
        entities: by `@id`; anybody may have written them.
    """
    root = entities.get("./", {})
    study = str(root.get("name")).removeprefix(TITLE[0]).removesuffix(TITLE[1])
    verdict = str(entities.get(naming.VERDICT, {}).get("value"))
    datasets = {
        reference: identifier.removeprefix(naming.DATASET)
        for identifier, entity in entities.items()
        if identifier.startswith(naming.DATASET)
        for reference in naming.ids(entity.get("hasPart"))
    }
    origins = {
        path: {
            "dataset": datasets.get(identifier),
            "licence": _first(entities, entity, "license").get("name"),
            "source": entity.get("url", ""),
        }
        for identifier, entity in entities.items()
        if (path := naming.referred_path(identifier)) is not None and "license" in entity
    }
    person = _first(entities, root, "author")
    organisation = _first(entities, person, "affiliation")
    agent = Agent() if person.get("@id") == naming.OPERATOR else agent_of(person, organisation)
    versions = [str(code["version"]) for name, code in entities.items() if naming.is_code(name) and "version" in code]
    unsound = () if verdict == SOUND else (verdict,)
    return Statement(study, agent, unsound, origins, versions[0] if versions else __version__)


def _first(entities: Mapping[str, Mapping[str, Any]], entity: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The entity that a property refers to; an empty one where it refers to none."""
    return next((entities[target] for target in sorted(naming.ids(entity.get(name))) if target in entities), {})


def operators(agent: Agent) -> tuple[str, str, list[dict[str, Any]]]:
    """The `@id` of who ran the study and of who publishes it, and the entities of both."""
    nobody = {
        "@id": naming.OPERATOR,
        "@type": "Organization",
        "name": "whoever ran this study (its records name no person)",
        "url": {"@id": README},
    }
    if not agent.name:
        return naming.OPERATOR, naming.OPERATOR, [nobody]
    person: dict[str, Any] = {"@id": agent.orcid or _PERSON, "@type": "Person", "name": agent.name}
    if not agent.affiliation:
        return person["@id"], naming.OPERATOR, [person, nobody]
    organisation: dict[str, Any] = {
        "@id": agent.affiliation_url or _ORGANISATION,
        "@type": "Organization",
        "name": agent.affiliation,
        "url": agent.affiliation_url or {"@id": README},
    }
    return person["@id"], organisation["@id"], [{**person, "affiliation": {"@id": organisation["@id"]}}, organisation]


def agent_of(person: Mapping[str, Any], organisation: Mapping[str, Any]) -> Agent:
    """Who ran the study, from the entities that `operators` made; empty ones where there is none."""
    orcid, address = str(person.get("@id", "")), str(organisation.get("@id", ""))
    return Agent(
        str(person.get("name", "")),
        "" if orcid == _PERSON else orcid,
        str(organisation.get("name", "")),
        "" if address == _ORGANISATION else address,
    )


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
            entity = {
                "@id": f"#employer-{len(employers) + 1}",
                "@type": "Organization",
                "name": employer,
                "url": place,
            }
            person["affiliation"] = {"@id": employers.setdefault(str(employer), entity)["@id"]}
        yield person
    yield from employers.values()


def home(citation: Mapping[str, Any]) -> Any:
    """Where the software is described: its address where the citation has one, else the citation itself."""
    return str(citation.get("repository-code") or citation.get("url") or "") or {"@id": CITATION}
