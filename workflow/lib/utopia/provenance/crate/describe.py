"""The metadata of a crate: a Provenance Run Crate 0.5, made from the records alone.

The profile extends Workflow Run Crate 0.5, Process Run Crate 0.5, Workflow RO-Crate 1.0 and RO-Crate 1.1. Every job
is a CreateAction (instrument: its script), started by a ControlAction (instrument: its rule, a HowToStep); one
OrganizeAction is the run of the engine, and one CreateAction the run of the workflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utopia.config import yaml_file
from utopia.errors import counted
from utopia.provenance import failures
from utopia.provenance.crate import naming
from utopia.provenance.crate.content import CITATION, LOCK, METADATA, README, WORKFLOW
from utopia.provenance.crate.statement import SOUND, TITLE, Statement, authors, home, operators
from utopia.provenance.hashing import FileState
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph

_RO_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate"
_WFRUN = "https://w3id.org/ro/terms/workflow-run#"
_TERMS = {name: f"{_WFRUN}{name}" for name in ("sha256", "resourceUsage")} | {
    "buildInstructions": "https://codemeta.github.io/terms/buildInstructions"
}
"""Terms of Workflow Run Crate that the context of RO-Crate 1.1 lacks."""
_PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    (f"{_WORKFLOW_CRATE}/1.0", "Workflow RO-Crate", "1.0"),
)
_BIOSCHEMAS = "https://bioschemas.org/profiles/{}/1.0-RELEASE"
_PIP = "https://pip.pypa.io/en/stable/reference/requirements-file-format/"
_ENGINE = "https://snakemake.github.io"
_COMPLETED = "http://schema.org/CompletedActionStatus"


def metadata(folder: Path, graph: Graph, files: Mapping[str, FileState], statement: Statement) -> dict[str, Any]:
    """The JSON-LD of a crate; the same arguments give the same value.

    Args:
        folder: the crate.
        graph: the lineage of the study as its records in the crate tell it.
        files: every file of the crate but the metadata itself.
        statement: what these do not tell.
    """
    citation = yaml_file.read(folder / CITATION).data
    writer = _Writer(folder, graph, files, statement)
    writer.people(citation)
    writer.files()
    writer.workflow(citation)
    writer.jobs()
    writer.run()
    writer.root(citation)
    return {"@context": [f"{_RO_CRATE}/context", _TERMS], "@graph": writer.entities()}


def is_written_by_this_program(folder: Path) -> bool:
    """Whether the crate in a folder holds the same code for writing metadata as this program."""
    here = Path(__file__).parent
    stored = folder / "workflow" / "lib" / "utopia" / "provenance" / "crate"
    names = ("describe.py", "naming.py", "statement.py")
    return all(
        (stored / name).is_file() and (stored / name).read_bytes() == (here / name).read_bytes() for name in names
    )


class _Writer:
    """Adds the parts of a crate one after the other."""

    def __init__(self, folder: Path, graph: Graph, files: Mapping[str, FileState], statement: Statement) -> None:
        self._graph, self._files, self._statement = graph, files, statement
        self._origins = statement.origins
        self._records = graph.ledger.records
        scripts = {name for record in self._records for name in record.facts["code"].get("files") or ()}
        self._codes = {
            name: naming.code((folder / name).read_bytes()) for name in (WORKFLOW, *scripts) if name in files
        }
        self._entities: dict[str, dict[str, Any]] = {}
        self._actions: list[str] = []
        self._controls: list[str] = []
        self._agent = self._publisher = naming.OPERATOR
        self._authors: list[str] = []

    def entities(self) -> list[dict[str, Any]]:
        """All entities, in one order, sealed."""
        first = {METADATA: 0, "./": 1}
        ordered = sorted(self._entities.values(), key=lambda entity: (first.get(entity["@id"], 2), entity["@id"]))
        self._entities[naming.METADATA_SEAL]["value"] = naming.metadata_seal(ordered)
        return ordered

    # -- parts

    def people(self, citation: Mapping[str, Any]) -> None:
        """Who ran it, who publishes it, and who wrote the software."""
        self._agent, self._publisher, entities = operators(self._statement.agent)
        written = list(authors(citation))
        self._authors = [author["@id"] for author in written if not author["@id"].startswith("#employer-")]
        for entity in (*entities, *written):
            self._entities.setdefault(entity["@id"], entity)

    def files(self) -> None:
        """Every file of the crate with its hash, and the folder of the study."""
        records = {self._name(record): record for record in self._records}
        for name, facts in self._files.items():
            if name == WORKFLOW:
                continue
            properties = self._facts(name, facts.sha256, facts.bytes)
            if name in records:
                properties["about"] = {"@id": naming.job(records[name].first_output)}
            elif name == README:
                properties["about"] = {"@id": "./"}
            elif name == LOCK:
                properties["conformsTo"] = {"@id": _PIP}
            self._add(naming.file_id(name), "File", **properties)
        self._add(_PIP, "CreativeWork", name="pip: requirements file format")
        below = [naming.file_id(name) for name in self._files if self._graph.is_below(name)]
        self._add(f"{self._graph.root}/", "Dataset", name="the results of the study", hasPart=_some(below))

    def workflow(self, citation: Mapping[str, Any]) -> None:
        """The workflow, its engine, its steps and the scripts that they run."""
        versions = sorted({str(record.facts.get("snakemake")) for record in self._records})
        self._add(_ENGINE, "SoftwareApplication", name="Snakemake", url=_ENGINE, softwareVersion=", ".join(versions))
        steps: dict[str, str] = {}
        for record in sorted(self._records, key=lambda job: job.facts["started"]):
            steps.setdefault(record.rule, self._tool(record))
        for script in sorted({self._script(record) for record in self._records}):
            self._add(
                self._codes[script],
                "SoftwareSourceCode",
                name=Path(script).stem.replace("_", " "),
                version=self._statement.version,
                url={"@id": naming.file_id(script)},
                programmingLanguage="Python",
            )
        for position, (rule, tool) in enumerate(steps.items(), 1):
            self._add(naming.step(rule), "HowToStep", name=rule, position=str(position), workExample={"@id": tool})
        facts = self._files[WORKFLOW]
        self._add(
            naming.file_id(WORKFLOW),
            ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            **self._facts(WORKFLOW, facts.sha256, facts.bytes)
            | {
                "name": str(citation.get("title", "Utopia")),
                "version": str(citation.get("version", self._statement.version)),
                "url": home(citation),
                "author": _some(self._authors),
                "license": {"@id": _licence(citation)},
                "conformsTo": {"@id": _BIOSCHEMAS.format("ComputationalWorkflow")},
                "hasPart": _some(sorted(set(steps.values()))),
                "step": _some([naming.step(rule) for rule in steps]),
                "programmingLanguage": {"@id": f"{_WORKFLOW_CRATE}#snakemake"},
                **({"buildInstructions": {"@id": LOCK}} if LOCK in self._files else {}),
            },
        )
        self._add(
            f"{_WORKFLOW_CRATE}#snakemake",
            "ComputerLanguage",
            name="Snakemake",
            identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            url={"@id": "https://snakemake.readthedocs.io"},
        )
        self._add(_BIOSCHEMAS.format("ComputationalWorkflow"), "CreativeWork", name="Bioschemas ComputationalWorkflow")
        self._add(_licence(citation), "CreativeWork", name=f"{citation.get('license', 'LICENSE')} licence")

    def jobs(self) -> None:
        """An action per job, and that the engine started it."""
        for record in self._records:
            first = record.first_output
            name = failures.job_name(record.rule, record.wildcards)
            read, made = (self._sides(self._graph.entries(record, side)) for side in ("inputs", "outputs"))
            self._actions.append(naming.job(first))
            self._controls.append(naming.control(first))
            self._add(
                naming.job(first),
                "CreateAction",
                name=name,
                description=f"{record.rule} made {first}",
                instrument={"@id": self._tool(record)},
                **({"object": _some(read)} if read else {}),
                result=_some(made),
                startTime=naming.moment(record.facts["started"]),
                endTime=naming.moment(record.facts["ended"]),
                agent={"@id": self._agent},
                actionStatus=_COMPLETED,
                subjectOf={"@id": naming.file_id(self._name(record))},
                resourceUsage=_some(self._usage(record, first)),
            )
            self._add(
                naming.control(first),
                "ControlAction",
                name=f"start {name}",
                instrument={"@id": naming.step(record.rule)},
                object={"@id": naming.job(first)},
                agent={"@id": self._agent},
                actionStatus=_COMPLETED,
            )

    def run(self) -> None:
        """The run as a whole: what went in, what came out, and who conducted it."""
        inputs, outputs = self._inputs(), self._outputs()
        times = {
            "startTime": naming.moment(min(record.facts["started"] for record in self._records)),
            "endTime": naming.moment(max(record.facts["ended"] for record in self._records)),
        }
        common = {**times, "agent": {"@id": self._agent}, "actionStatus": _COMPLETED}
        self._add(
            naming.RUN,
            "CreateAction",
            name="the study",
            description="All jobs whose records are in this crate, as one run of the workflow.",
            instrument={"@id": WORKFLOW},
            object=_some(inputs),
            result=_some([*outputs, f"{self._graph.root}/"]),
            **common,
        )
        self._add(
            naming.ENGINE_RUN,
            "OrganizeAction",
            name="Snakemake runs the workflow",
            instrument={"@id": _ENGINE},
            object=_some(self._controls),
            result={"@id": naming.RUN},
            **common,
        )

    def root(self, citation: Mapping[str, Any]) -> None:
        """What the crate is."""
        unsound = self._statement.unsound
        for identifier, name, version in _PROFILES:
            self._add(identifier, "CreativeWork", name=name, version=version)
        for identifier, name, of, value in (
            (naming.SEAL, "seal", "seal of all records", self._graph.seal()),
            (naming.METADATA_SEAL, "seal of the metadata", "digest of every entity but this one", ""),
            (naming.VERDICT, "verdict", "what utopia verify said of the study", "; ".join(unsound) or SOUND),
        ):
            self._add(identifier, "PropertyValue", name=name, propertyID=of, value=value)
        self._add(
            METADATA,
            "CreativeWork",
            about={"@id": "./"},
            conformsTo=_some((_RO_CRATE, f"{_WORKFLOW_CRATE}/1.0")),
        )
        self._add(
            "./",
            "Dataset",
            name=f"{TITLE[0]}{self._statement.study}{TITLE[1]}",
            description=("NOT SOUND, see the README. " if unsound else "")
            + f"Tables ({len(self._graph.tables)}) and figures ({len(self._graph.figures)}) of a run of Utopia, with "
            f"the records of the jobs that made them ({len(self._records)}), configuration and code. Raw data and what "
            "else is not in it are named by their hashes.",
            datePublished=max(record.facts["ended"] for record in self._records)[:10],
            license={"@id": _licence(citation)},
            author={"@id": self._agent},
            publisher={"@id": self._publisher},
            identifier=_some([naming.SEAL, naming.METADATA_SEAL, naming.VERDICT]),
            conformsTo=_some(identifier for identifier, _, _ in _PROFILES),
            mentions=_some([naming.RUN, naming.ENGINE_RUN, *self._actions, *self._controls]),
            mainEntity={"@id": WORKFLOW},
            # In the order of earlier versions: the files, the results' folder, the workflow.
            hasPart=_some(
                [
                    *(naming.file_id(name) for name in self._files if name != WORKFLOW),
                    f"{self._graph.root}/",
                    naming.file_id(WORKFLOW),
                ]
            ),
        )

    # -- pieces

    def _add(self, identifier: str, kind: str | list[str], /, **properties: Any) -> None:
        """Add an entity; one that is there already stays as it is."""
        self._entities.setdefault(identifier, {"@id": identifier, "@type": kind, **properties})

    def _facts(self, name: str, sha256: str | None, size: int | None) -> dict[str, Any]:
        return {
            "name": name,
            "encodingFormat": naming.suffix_format(name),
            **({} if sha256 is None else {"sha256": sha256, "contentSize": str(size)}),
        }

    def _name(self, record: Record) -> str:
        return self._graph.ledger.portable.write(record.path)

    def _script(self, record: Record) -> str:
        named = [name for name in record.facts["code"].get("files") or () if name in self._codes]
        return named[0] if named else WORKFLOW

    def _tool(self, record: Record) -> str:
        return self._codes[self._script(record)]

    def _sides(self, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The files that a job read or made, those that are not in the crate as a set where they are many."""
        paths = [path for path, entry in entries.items() if "files" not in entry]
        inside = [naming.file_id(path) for path in paths if path in self._files]
        return [*inside, *self._referred([path for path in paths if path not in self._files])]

    def _referred(self, paths: Sequence[str]) -> list[str]:
        for path in paths:
            self._reference(path)
        named = [naming.reference(path) for path in paths]
        if len(named) <= naming.FEW:
            return named
        together = naming.set_of(named)
        self._add(
            together,
            "Dataset",
            name=f"{counted(len(named), 'file that is', 'files that are')} not in this crate",
            hasPart=_some(sorted(named)),
        )
        return [together]

    def _reference(self, path: str) -> None:
        """A file that is named by its hash only, with its licence and source."""
        if naming.reference(path) in self._entities:
            return
        entry = self._graph.entry(path) or {}
        properties = self._facts(path, entry.get("sha256"), entry.get("bytes"))
        origin = self._origins.get(path)
        if origin is not None:
            properties |= self._terms(str(origin["licence"]), str(origin["source"]))
        self._add(naming.reference(path), "File", **properties)

    def _terms(self, licence: str, source: str) -> dict[str, Any]:
        identifier = f"#licence/{naming.reference(licence)[6:]}"
        self._add(identifier, "CreativeWork", name=licence)
        return {"license": {"@id": identifier}, **({"url": source} if source else {})}

    def _usage(self, record: Record, first: str) -> list[str]:
        usages = []
        for name, unit in (("seconds", "SEC"), ("cpu_seconds", "SEC"), ("peak_memory_bytes", "AD")):
            if (value := record.facts.get(name)) is not None:
                identifier = f"#usage/{name}/{naming.job(first)[5:]}"
                self._add(identifier, "PropertyValue", name=name, propertyID=name, value=str(value), unitCode=unit)
                usages.append(identifier)
        return usages

    def _inputs(self) -> list[str]:
        """The configuration and the data sets, each with the parameter of the workflow that it is a value of."""
        inputs = ["config.yaml"] if "config.yaml" in self._files else []
        for name in inputs:
            self._parameter("input", "#input/configuration", "File", name)
        by_dataset: dict[str, list[str]] = {}
        for path, origin in sorted(self._origins.items()):
            if origin.get("dataset") and path not in self._files:
                by_dataset.setdefault(origin["dataset"], []).append(path)
        for dataset, paths in by_dataset.items():
            identifier, origin = f"{naming.DATASET}{dataset}", self._origins[paths[0]]
            for path in paths:
                self._reference(path)
            self._add(
                identifier,
                "Dataset",
                name=f"the raw files of {dataset} that were read; they are not in this crate",
                hasPart=_some([naming.reference(path) for path in paths]),
                **self._terms(str(origin["licence"]), str(origin["source"])),
            )
            self._parameter("input", f"#input/{dataset}", "Dataset", identifier)
            inputs.append(identifier)
        return inputs

    def _outputs(self) -> list[str]:
        outputs = []
        for kind, jobs, suffix in (("tables", self._graph.tables, "csv"), ("figures", self._graph.figures, "pdf")):
            for name in jobs:
                path = f"{self._graph.root}/{kind}/{name}.{suffix}"
                if path in self._files:
                    self._parameter("output", f"#output/{kind}/{name}", "File", naming.file_id(path))
                    outputs.append(naming.file_id(path))
        return outputs

    def _parameter(self, side: str, identifier: str, kind: str, value: str) -> None:
        self._add(
            identifier,
            "FormalParameter",
            name=identifier.rpartition("/")[2],
            additionalType=kind,
            workExample={"@id": value},
            conformsTo={"@id": _BIOSCHEMAS.format("FormalParameter")},
        )
        self._add(_BIOSCHEMAS.format("FormalParameter"), "CreativeWork", name="Bioschemas FormalParameter")
        self._entities[value]["exampleOfWork"] = {"@id": identifier}
        self._entities[WORKFLOW].setdefault(side, []).append({"@id": identifier})


def _some(identifiers: Iterable[str]) -> Any:
    """References; a single one stands alone, as RO-Crate 1.1 recommends."""
    references = [{"@id": identifier} for identifier in dict.fromkeys(identifiers)]
    return references[0] if len(references) == 1 else references


def _licence(citation: Mapping[str, Any]) -> str:
    name = citation.get("license")
    return f"https://spdx.org/licenses/{name}" if isinstance(name, str) else "LICENSE"
