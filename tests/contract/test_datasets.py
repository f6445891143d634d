"""What every data set must offer; a new file in `datasets/` is tested without a new test file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia.config import registry
from utopia.config.described import meanings
from utopia.datasets import _card, _common
from utopia.datasets._common import Limits
from utopia.errors import InputError
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import damaged_id, generate, generators, item_ids, video_ids
from utopia.labels.build import build_labels
from utopia.labels.read import Labels
from utopia.plan.availability import EMBEDDED

SIZE = {"seconds": 10.0, "width": 32, "height": 32, "fps": 5, "annotators": 6, "label_annotators": 2}
COUNT = 6
DATASETS = registry.names("datasets")


@pytest.fixture(scope="module", params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def module(dataset: str) -> Any:
    return registry.load("datasets", dataset)


@pytest.fixture(scope="module")
def folder(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (EMBEDDED / dataset).is_dir():
        return EMBEDDED / dataset
    if dataset not in generators():
        pytest.skip(f"the miniature does not generate {dataset}: add inputs/miniature/{dataset}.py to test its reader")
    folder = tmp_path_factory.mktemp(dataset)
    generate(dataset=dataset, count=COUNT, settings=SIZE, seed=11, folder=folder)
    return folder


def _generated(folder: Path) -> None:
    if folder.is_relative_to(EMBEDDED):
        pytest.skip("comes with the project: nothing of it is generated, nor damaged")


@pytest.fixture(scope="module")
def limits(dataset: str) -> Limits:
    bounds = np.array(list(_card.card(dataset).label_range.values()))
    return Limits(float(bounds[:, 0].min()), float(bounds[:, 1].max()))


def test_offers_the_protocol(module: Any) -> None:
    assert module.PROTOCOL in ("affect", "summary", "reactions")
    assert _common.medium(module) in _common.MEDIA.values()
    assert module.TARGETS and all(isinstance(target, str) for target in module.TARGETS)
    for name in ("locate", "items", "describe", "read_labels", "folds"):
        assert callable(getattr(module, name))


def test_config_is_the_same_whether_or_not_the_module_is_imported(dataset: str, module: Any) -> None:
    assert registry.config_of("datasets", dataset).model_json_schema() == module.Config.model_json_schema()
    assert all(meanings(module.Config).values())


def test_an_empty_or_missing_folder_is_a_reason_not_an_error(dataset: str, module: Any, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        located = module.locate(place, module.Config())
        assert not located.files
        assert {"annotations", _common.medium(module).files} <= set(located.missing)
        assert str(place) in located.missing["annotations"]
        items = module.items(located, module.Config())
        assert [item.id for item in items] == [item.id for item in _card.card(dataset).items]
        for item in items[:2]:
            with pytest.raises(InputError):
                module.describe(located, item, module.Config())


def test_the_generated_folder_is_found_whole(dataset: str, module: Any, folder: Path) -> None:
    _generated(folder)
    located = module.locate(folder, module.Config())
    items = module.items(located, module.Config())
    assert located.generated and "annotations" not in located.missing
    assert [item.id for item in items] == item_ids(dataset, COUNT)
    assert [item.id for item in items if _common.medium(module).role in item.files] == video_ids(dataset, COUNT)
    assert all(path.is_file() for item in items for path in item.files.values())


def test_labels_stand_on_one_grid_within_the_limits(module: Any, folder: Path, limits: Limits) -> None:
    located = module.locate(folder, module.Config())
    for item in module.items(located, module.Config()):
        labelled = module.read_labels(located, item, module.Config(), limits)
        steps = labelled.times.shape
        assert labelled.id == item.id and labelled.times.dtype == np.float64
        assert (np.diff(labelled.times) > 0).all()
        columns = getattr(module, "COLUMNS", {})
        assert set(labelled.labels) == set(module.TARGETS) or (columns and not labelled.labels)
        for series in (labelled.labels, labelled.evaluation):
            for target, values in series.items():
                assert values.shape == steps + ((len(columns[target]),) if target in columns else ())
                assert np.isfinite(values).all()
                assert (values >= limits.low).all() and (values <= limits.high).all()
        for target, votes in labelled.votes.items():
            assert votes.shape[1:] == steps
            if not labelled.evaluation:
                np.testing.assert_allclose(votes.mean(axis=0), labelled.labels[target], atol=1e-12)
        if module.PROTOCOL == "summary":
            assert {"picks", "n_frames"} <= set(labelled.shots)
            assert labelled.shots["picks"].shape == steps


def test_folds_part_the_items(dataset: str, module: Any, folder: Path, limits: Limits) -> None:
    located = module.locate(folder, module.Config())
    read = [
        module.read_labels(located, item, module.Config(), limits) for item in module.items(located, module.Config())
    ]
    ids = [item.id for item in read if item.labels]
    folds = module.folds(located, ids, module.Config())
    assert folds and len({fold["name"] for fold in folds}) == len(folds)
    for fold in folds:
        assert fold["train"] and fold["test"]
        assert sorted(fold["train"] + fold["test"]) == sorted(ids)
    for fold in module.folds(located, ids[1:], module.Config()):
        assert ids[0] not in fold["train"] + fold["test"]


def test_the_damaged_video_is_only_trained_on(dataset: str, module: Any, folder: Path) -> None:
    _generated(folder)
    if not video_ids(dataset, COUNT):
        pytest.skip("is generated without videos: none is damaged")
    bad = damaged_id(dataset, COUNT)
    folds = module.folds(module.locate(folder, module.Config()), item_ids(dataset, COUNT), module.Config())
    assert all(bad in fold["train"] for fold in folds)


def test_from_raw_files_to_labels_the_same_bytes_twice(
    dataset: str, module: Any, folder: Path, limits: Limits, tmp_path: Path
) -> None:
    outputs = []
    for attempt in ("first", "second"):
        manifest, output = tmp_path / f"{attempt}.json", tmp_path / f"{attempt}.safetensors"
        hashed = list_inputs(dataset=dataset, folder=folder, options={}, output=manifest)
        assert hashed and all(path.is_file() for path in hashed)
        build_labels(
            dataset=dataset,
            manifest=manifest,
            folder=folder,
            options={},
            distribution={"low": limits.low, "high": limits.high},
            output=output,
        )
        outputs.append((manifest.read_bytes(), output.read_bytes()))
    assert outputs[0] == outputs[1]
    labels = Labels(tmp_path / "first.safetensors")
    assert labels.items == [item.id for item in module.items(module.locate(folder, module.Config()), module.Config())]
    assert labels.protocol == module.PROTOCOL and set(labels.targets) == set(module.TARGETS)
    columns = getattr(module, "COLUMNS", {})
    assert labels.columns == {target: list(names) for target, names in columns.items()}
    assert set(labels.unlabelled).isdisjoint(id for fold in labels.folds for id in fold["train"] + fold["test"])
    for item in labels.items:
        for target in labels.targets if item not in labels.unlabelled else ():
            wide = (len(columns[target]),) if target in columns else ()
            assert labels.label(item, target).shape == labels.times(item).shape + wide
