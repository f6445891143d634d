"""The rules that make features: fine-tuning of a network, extraction from videos, import of what others extracted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from utopia import fingerprint
from utopia.config.study import PRECOMPUTED
from utopia.features import cards
from utopia.plan.rule import Names, Paths, Rule, component, folder

if TYPE_CHECKING:
    from utopia.plan.plan import Plan

_STORED = ("utopia.media.decoding", "utopia.media.audio", "utopia.features.rows", "utopia.extractors._precision")
"""Code that a stored feature depends on, besides its extractor's."""


def _extracted(plan: Plan, dataset: str) -> dict[str, dict[str, Any]]:
    known = plan.study.features  # type: ignore[attr-defined]
    tuned = plan.fine_tuned(dataset)
    return {
        name: {
            **known[name].model_dump(mode="json", exclude={"normalise", "note"}),
            **({"tuned": plan.tuned(name)} if name in tuned else {}),
        }
        for name in plan.datasets[dataset].features
        if known[name].extractor not in PRECOMPUTED
    }


def _extraction(plan: Plan, names: Names) -> dict[str, Any]:
    data = plan.study.data
    return {
        "folder": folder(plan, names["dataset"]),
        "videos": list(plan.datasets[names["dataset"]].shards[int(names["shard"])]),
        "features": _extracted(plan, names["dataset"]),
        "store": f"{plan.root}/features/store",
        "weights_folder": str(data / "weights") if data else None,
        "seed": plan.study.seed,
        "device": plan.study.device,
    }


def _extraction_code(plan: Plan, names: Names, given: dict[str, Any]) -> dict[str, Any]:
    """`code` makes the store forget what other code extracted."""
    features = {
        name: {**feature, "code": fingerprint.fingerprint(component("extractors", feature["extractor"]), *_STORED)}
        for name, feature in given["features"].items()
    }
    return {**given, "features": features}


def _extraction_modules(plan: Plan, names: Names) -> list[str]:
    features = _extracted(plan, names["dataset"]).values()
    return ["utopia.features.extract", *(component("extractors", feature["extractor"]) for feature in features)]


def _fine_tuning(plan: Plan, names: Names) -> dict[str, Any]:
    feature, data = plan.study.features[names["feature"]], plan.study.data  # type: ignore[attr-defined]
    return {
        "settings": feature.model_dump(mode="json", exclude={"normalise", "note", "compute"}),
        "folder": folder(plan, feature.fine_tune.dataset) if feature.fine_tune.dataset else None,
        "weights_folder": str(data / "weights") if data else None,
        "seed": plan.study.seed,
        "device": plan.study.device,
    }


def _fine_tuning_modules(plan: Plan, names: Names) -> list[str]:
    feature = plan.study.features[names["feature"]]  # type: ignore[attr-defined]
    return ["utopia.features.finetune", "utopia.extractors._finetune", component("extractors", feature.extractor)]


def _fine_tuning_inputs(plan: Plan, names: Names) -> dict[str, Paths]:
    feature, data = plan.study.features[names["feature"]], plan.study.data  # type: ignore[attr-defined]
    how = feature.fine_tune
    return {
        "weights": plan.card_files(cards.needed(feature.options)),
        **({"frames": str(data / how.frames)} if how.frames else {}),
        **({"manifest": plan.manifest(how.dataset), "labels": plan.labels(how.dataset)} if how.dataset else {}),
    }


FEATURES: dict[str, Rule] = {
    "fine_tune": Rule(
        script="fine_tune",
        modules=_fine_tuning_modules,
        settings=_fine_tuning,
        inputs=_fine_tuning_inputs,
        outputs=lambda plan, w: {"": [plan.tuned(w["feature"])]},
    ),
    "extract_features": Rule(
        script="extract_features",
        modules=_extraction_modules,
        settings=_extraction,
        inputs=lambda plan, w: {"manifest": plan.manifest(w["dataset"]), "weights": plan.weights(w["dataset"])},
        outputs=lambda plan, w: {"": [f"{plan.root}/features/{w['dataset']}/shard-{w['shard']}.json"]},
        within=_extraction_code,
    ),
    "import_features": Rule(
        script="import_features",
        modules=lambda plan, w: ["utopia.features.precomputed"],
        settings=lambda plan, w: {
            "folder": folder(plan, w["dataset"]),
            "settings": plan.study.features[w["feature"]].model_dump(mode="json"),  # type: ignore[attr-defined]
            "store": f"{plan.root}/features/store",
        },
        inputs=lambda plan, w: {
            "manifest": plan.manifest(w["dataset"]),
            "source": str(plan.datasets[w["dataset"]].precomputed[w["feature"]]),
        },
        outputs=lambda plan, w: {"": [f"{plan.root}/features/{w['dataset']}/{w['feature']}.json"]},
    ),
}
"""Upstream first."""
