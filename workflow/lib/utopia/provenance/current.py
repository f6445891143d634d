"""The parameters that jobs would be given today, to compare with those that records hold.

The rules in workflow/rules say the same to Snakemake; a test on a finished study holds that both agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from utopia.config.study import PRECOMPUTED
from utopia.outputs.plan import Plan
from utopia.provenance.ledger import Record
from utopia.provenance.paths import Portable
from utopia.provenance.values import jsonable


class Current:
    """Today's parameters, by what a job makes.

    Args:
        plan: what today's configuration asks for, on today's data.
        portable: how records write paths.
    """

    def __init__(self, plan: Plan, portable: Portable) -> None:
        self._plan, self._portable = plan, portable
        self._all_runs = {run.id: run for run in plan.runs.values()}
        self._distributions = plan.distributions()

    def changes(self, record: Record) -> list[Change]:
        """What differs between a record's parameters and today's; nothing where today's study has no such job."""
        then = {name: value for name, value in record.facts["params"].items() if name not in ("code", "caption")}
        now = self._parameters(record)
        if now is None:
            return []
        now = self._portable.redact(jsonable(now))
        return list(differences({name: _without_code(then.get(name)) for name in now}, now))

    def is_planned(self, record: Record) -> bool:
        """Whether today's study has this job."""
        return self._parameters(record) is not None

    def _parameters(self, record: Record) -> dict[str, Any] | None:
        rule, wildcards, plan = record.rule, record.wildcards, self._plan
        dataset = plan.datasets.get(wildcards.get("dataset", ""))
        if rule == "render_table":
            name = wildcards["table"]
            if name not in plan.tables:
                return None
            return {"settings": plan.table_settings(name), "runs": list(plan.table_runs(name))}
        if rule == "render_figure":
            name = wildcards["figure"]
            return {"settings": plan.figure_settings(name)} if name in plan.figures else None
        if rule == "report_coverage":
            return {"absent": {name: one.reason for name, one in plan.datasets.items() if not one.available}}
        if rule.startswith(("train_", "evaluate_")) and rule != "evaluate_reference":
            return self._runs(record, judged=rule.startswith("evaluate_"))
        if rule == "evaluate_reference":
            run = self._all_runs.get(f"{wildcards['dataset']}.reference.{wildcards['reference']}")
            return None if run is None else {"run": {**run.settings, **plan.study.evaluation.model_dump()}}
        if rule == "render_page":
            return {"study": plan.study.study, "tables": list(plan.tables), "figures": list(plan.figures)}
        if rule == "write_submission":
            if wildcards["run"] not in plan.submissions():
                return None
            name = plan.runs[wildcards["run"]].dataset
            return {"dataset": name, "options": plan.study.dataset(name).options.model_dump(mode="json")}
        if dataset is None or not dataset.available:
            return None
        return self._of_dataset(rule, wildcards, dataset.name)

    def _runs(self, record: Record, *, judged: bool) -> dict[str, Any] | None:
        """Each run of a pack by itself: which runs share a job changes no number."""
        ids = [run["id"] for run in record.facts["params"].get("runs", [])]
        known = [self._all_runs[name] for name in ids if name in self._all_runs]
        if not known:
            return None
        evaluation = self._plan.study.evaluation.model_dump()
        kept = ("id", "targets", "repeats", "label_filter")
        now = {
            run.id: {**{name: run.settings[name] for name in kept}, **evaluation} if judged else dict(run.settings)
            for run in known
        }
        then = {run["id"]: run for run in record.facts["params"]["runs"]}
        return {"runs": [now.get(name, _without_code(then[name])) for name in ids]}

    def _of_dataset(self, rule: str, wildcards: Mapping[str, str], name: str) -> dict[str, Any] | None:
        study, there = self._plan.study, self._plan.datasets[name]
        own = study.dataset(name)
        options = own.options.model_dump(mode="json")
        if rule == "generate_miniature" and study.generated is not None:
            size, count = study.generated.size(name), study.generated.items[name]
            return {"settings": {"count": count, "settings": size, "seed": study.seed}}
        if rule == "list_inputs":
            return {"options": options}
        if rule == "build_labels":
            of_distribution = (
                own.distribution.model_dump(mode="json", include={"low", "high"}) if own.distribution else {}
            )
            return {"options": options, "distribution": of_distribution}
        if rule == "approximate_distribution":
            path = self._plan.distribution(name, wildcards["key"])
            return {"settings": self._distributions[path]} if path in self._distributions else None
        known = study.features  # type: ignore[attr-defined]
        features = {feature: known[feature] for feature in there.features}
        if rule == "extract_features":
            shard = int(wildcards["shard"])
            if shard >= len(there.shards):
                return None
            chosen = {
                feature: settings.model_dump(mode="json", exclude={"normalise", "note"})
                for feature, settings in features.items()
                if settings.extractor not in PRECOMPUTED
            }
            videos = list(there.shards[shard])
            return {"videos": videos, "features": chosen, "seed": study.seed, "device": study.device}
        if rule == "import_features" and wildcards["feature"] in features:
            return {"settings": features[wildcards["feature"]].model_dump(mode="json")}
        return None


def _without_code(value: Any) -> Any:
    """A parameter without the fingerprints inside it: code is compared module by module."""
    if isinstance(value, Mapping):
        return {name: _without_code(each) for name, each in value.items() if name != "code"}
    return [_without_code(each) for each in value] if isinstance(value, list) else value


class Change(NamedTuple):
    """A setting that differs; `ABSENT` stands where there is none."""

    name: str
    """Dotted name."""
    then: Any
    now: Any

    @property
    def run(self) -> str:
        """The run that alone it concerns; empty where there is none."""
        match = re.match(r"runs\[([^\]]+)\]\.", self.name)
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.then)} -> {_short(self.now)}"


ABSENT = "(absent)"


def differences(then: Any, now: Any, name: str = "") -> Iterator[Change]:
    """The leaves in which two JSON values differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted(then.keys() | now.keys()):
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), inner)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (a, b) in enumerate(zip(then, now, strict=True)):
            label = next((each["id"] for each in (a, b) if isinstance(each, Mapping) and "id" in each), number)
            yield from differences(a, b, f"{name}[{label}]")
    elif then != now:
        yield Change(name, then, now)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
