"""Fine-tuning as a job: on labels of a data set or on labelled frames; and what extraction makes of the result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from utopia import arrays
from utopia.config.load import load
from utopia.config.study import StudyBase
from utopia.errors import ChecksumError, ConfigError, InputError
from utopia.features import cards, finetune, weights
from utopia.features.extract import extract_shard
from utopia.features.finetune import fine_tune
from utopia.files import read_json, sha256, write_json
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate
from utopia.labels.build import build_labels
from utopia.plan.availability import DatasetPlan
from utopia.plan.plan import Plan

SIZE = {"seconds": 8.0, "width": 64, "height": 48, "fps": 10, "annotators": 4, "label_annotators": 2}
OPTIONS = {"weights": "random", "height": 32, "width": 40}


class Liris:
    """A generated LIRIS-ACCEDE of six movies, one of them for the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "liris"
        self.manifest, self.labels = folder / "liris.json", folder / "labels.safetensors"

    def tune(self, output: Path, **changes: Any) -> Any:
        how = {"dataset": "liris", "fps": 1.0, "epochs": 2, "batch": 8, "held_out": 0.3} | changes
        given: dict[str, Any] = {
            "settings": {"extractor": "openpose_action", "options": OPTIONS, "fine_tune": how},
            "weights_folder": None,
            "frames": None,
            "manifest": self.manifest,
            "labels": self.labels,
            "root": self.root,
            "output": output,
            "seed": 1,
            "device": "cpu",
        }
        fine_tune(**given)
        return arrays.load(output)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Liris:
    liris = Liris(tmp_path_factory.mktemp("liris"))
    generate(dataset="liris", count=6, settings=SIZE, seed=3, folder=liris.root)
    options = load().dataset("liris").options.model_dump(mode="json")
    list_inputs(dataset="liris", folder=liris.root, options=options, output=liris.manifest)
    build_labels(
        dataset="liris",
        manifest=liris.manifest,
        folder=liris.root,
        options=options,
        distribution={"low": -1.0, "high": 1.0},
        output=liris.labels,
    )
    return liris


@pytest.fixture
def liris(made: Liris, tmp_path: Path) -> Liris:
    shutil.copytree(made.folder, tmp_path / "data")
    return Liris(tmp_path / "data")


@pytest.fixture
def training_videos(made: Liris) -> list[str]:
    entries = {entry["id"]: entry for entry in read_json(made.manifest)["items"]}
    folds = arrays.load(made.labels).meta["folds"]
    return [item for item in folds[0]["train"] if "video" in entries[item]["files"]]


@pytest.mark.long
def test_labels_of_training_videos_are_learned_and_extraction_reads_the_result(
    liris: Liris, training_videos: list[str], tmp_path: Path
) -> None:
    labels = arrays.load(liris.labels)
    assert labels.meta["folds"][0]["test"], "there is a test movie, which must not be looked at"
    output = tmp_path / "weights" / "openpose_action.safetensors"
    output.parent.mkdir()
    tuned = liris.tune(output)
    assert tuned.meta["fine_tuned_on"]["dataset"] == "liris"
    assert tuned.meta["fine_tuned_on"]["videos"] == len(training_videos) >= 3
    assert set(tuned.meta["held_out_groups"]) < set(training_videos)
    assert tuned.meta["result"]["names"] == ["arousal", "valence"] and tuned["classifier.weight"].shape == (2, 128)
    assert list(output.parent.iterdir()) == [output], "decoded frames and half-done work are gone"

    item = labels.meta["folds"][0]["test"][0]
    feature = {"extractor": "openpose_action", "options": OPTIONS}
    index = {}
    for name, more in (("tuned", {"tuned": str(output)}), ("random", {})):
        extract_shard(
            manifest=liris.manifest,
            root=liris.root,
            items=[item],
            features={"action": feature | more},
            weights_folder=None,
            store=tmp_path / "features" / "store",
            output=tmp_path / "features" / f"{name}.json",
            seed=1,
            device="cpu",
        )
        index[name] = read_json(tmp_path / "features" / f"{name}.json")
    assert index["tuned"]["weights"]["action"] == {"kind": "fine-tuned", "file": output.name, "sha256": sha256(output)}
    files = [each["items"][item]["action"]["file"] for each in index.values()]
    first, second = (arrays.load(tmp_path / "features" / file)["features"] for file in files)
    assert first.shape == second.shape and first.shape[1] == 128 and not np.allclose(first, second)


def test_test_videos_decide_nothing(liris: Liris, training_videos: list[str], tmp_path: Path) -> None:
    before = liris.tune(tmp_path / "before.safetensors")
    listed = read_json(liris.manifest)
    for entry in listed["items"]:
        if entry["id"] not in training_videos and "video" in entry["files"]:
            (liris.root / entry["files"]["video"]["path"]).write_bytes(b"another film")
    after = liris.tune(tmp_path / "after.safetensors")
    assert before.path.read_bytes() == after.path.read_bytes()


def test_a_job_that_was_killed_decodes_no_video_twice(liris: Liris, tmp_path: Path, monkeypatch: Any) -> None:
    whole = liris.tune(tmp_path / "whole.safetensors")
    original, decoded = finetune.Decoder.sample, []

    def sample(self: Any, path: Path, **how: Any) -> Iterator[Any]:
        decoded.append(path.name)
        if len(decoded) == 3:
            raise KeyboardInterrupt
        return original(self, path, **how)

    monkeypatch.setattr(finetune.Decoder, "sample", sample)
    with pytest.raises(KeyboardInterrupt):
        liris.tune(tmp_path / "stopped.safetensors")
    again = liris.tune(tmp_path / "stopped.safetensors")
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert len(decoded) == len(set(decoded)) + 1, "only the one that was cut"


def test_what_it_refuses(liris: Liris, training_videos: list[str], tmp_path: Path) -> None:
    output = tmp_path / "x.safetensors"
    listed = read_json(liris.manifest)
    entry = next(entry for entry in listed["items"] if entry["id"] == training_videos[0])
    video = liris.root / entry["files"]["video"]["path"]
    content = video.read_bytes()
    video.write_bytes(content + b"x")
    with pytest.raises(ChecksumError, match="the manifest lists"):
        liris.tune(output)
    video.write_bytes(b"no film")
    entry["files"]["video"]["sha256"] = sha256(video)
    write_json(liris.manifest, listed)
    tuned = liris.tune(output).meta["fine_tuned_on"]
    assert list(tuned["left_out"]) == training_videos[:1] and tuned["videos"] == len(training_videos) - 1
    output.unlink()
    labels = arrays.load(liris.labels)
    folds = [
        {"name": item, "train": [i for i in labels.meta["items"] if i != item], "test": [item]}
        for item in labels.meta["items"]
    ]
    arrays.save(tmp_path / "crossed.safetensors", dict(labels), labels.meta | {"folds": folds})
    liris.labels = tmp_path / "crossed.safetensors"
    with pytest.raises(InputError, match="no video that every fold trains on") as caught:
        liris.tune(output)
    assert "fine_tune.dataset" in caught.value.remedy and not output.exists()


def test_labelled_frames_are_learned_as_classes(liris: Liris, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        for video in range(3):
            place = tmp_path / "raf" / name / str(video)
            place.mkdir(parents=True)
            picture = random.integers(150 * number, 150 * number + 80, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(place / "0.png")
    output = tmp_path / "openpose_action.safetensors"
    how = {"frames": "raf", "epochs": 1}
    given: dict[str, Any] = dict.fromkeys(("weights_folder", "manifest", "labels", "root"))
    settings = {"extractor": "openpose_action", "options": OPTIONS, "fine_tune": how}
    fine_tune(settings=settings, frames=tmp_path / "raf", output=output, seed=1, device="cpu", **given)
    assert arrays.load(output).meta["result"]["names"] == ["dark", "light"]
    settings["options"] = OPTIONS | {"weights": "openpose_coco"}
    with pytest.raises(InputError, match=r"needs the weights body_pose_model\.pth"):
        fine_tune(settings=settings, frames=tmp_path / "raf", output=output, seed=1, device="cpu", **given)


# -- the plan


def study(data: Path | None = None, **more: Any) -> StudyBase:
    return load(overrides={"study": "paper", **({"data": str(data)} if data else {}), **more})


def test_the_published_study_fine_tunes_as_the_text_says() -> None:
    """ULDA sec. 4.3: OpenPose with a head "fine-tuned on the LIRIS-ACCEDE dataset", Xception "pre-trained on RAF"."""
    found = study()
    action, face = (found.features[name] for name in ("openpose_action", "xception_face"))  # type: ignore[attr-defined]
    assert action.fine_tune.dataset == "liris" and action.options.layer == "action"
    assert face.fine_tune.frames == "raf_db"
    assert {"openpose_action", "xception_face"} < set(found.dataset("liris").features[0])


def test_a_job_makes_the_weights_and_extraction_waits_for_it(tmp_path: Path) -> None:
    features = {"openpose_action": {"options": {"weights": "random"}}}
    overrides = {"datasets": {"liris": {"features": [["openpose_action"]]}}, "features": features}
    plan = Plan(load(overrides={"results": str(tmp_path), **overrides}))
    made = f"{tmp_path}/miniature/features/weights/openpose_action.safetensors"
    jobs = {job.name: job for job in plan.jobs if job.rule == "fine_tune"}
    assert jobs["fine_tune"].made() == [made]
    assert [Path(path).name for path in jobs["fine_tune"].read()] == ["liris.json", "labels.safetensors"]
    extraction = [job for job in plan.jobs if job.rule == "extract_features" and made in job.read()]
    assert len(extraction) == len(plan.datasets["liris"].shards) > 0
    order = [job.name for job in plan.jobs]
    assert order.index("build_labels") < order.index("fine_tune") < order.index("extract_features")
    params = plan.params("fine_tune", {"feature": "openpose_action"})
    assert params["code"] and params["settings"]["fine_tune"]["epochs"] == 20


def test_what_is_not_there_is_a_hole_with_its_reason(liris: Liris) -> None:
    data = liris.folder
    every = study(data).features  # type: ignore[attr-defined]
    cards_ = {
        card for feature in every.values() if hasattr(feature, "compute") for card in cards.needed(feature.options)
    }
    (data / "weights").mkdir()
    for name in cards_:
        (data / "weights" / weights.card(name).file).touch()

    def surveyed(**more: Any) -> DatasetPlan:
        return Plan(study(data, **more)).datasets["liris"]

    without = surveyed()
    assert "xception_imagenet" in without.features and "openpose_action" in without.features
    assert any(note.startswith("xception_imagenet: ") for note in without.notes), without.notes
    (data / "raf_db").mkdir()
    assert "xception_face" in surveyed().features and not surveyed().notes
    elsewhere = {"openpose_action": {"fine_tune": {"dataset": "tvsum"}}}
    only = {"liris": {"features": [["openpose_action"]]}}
    hole = surveyed(features=elsewhere, datasets=only)
    assert not hole.features and "needs tvsum to fine-tune on, and tvsum/ is not there" in hole.feature_reason
    hole = surveyed(
        features={"xception_face": {"fine_tune": {"frames": "faces"}}},
        datasets={"liris": {"features": [["xception_face"]]}},
    )
    assert "needs labelled frames to fine-tune on, and <data>/faces/ is not there" in hole.feature_reason
    shutil.rmtree(data / "liris")
    absent = Plan(study(data))
    assert absent.datasets["liris"].reason and not [job for job in absent.jobs if job.rule == "fine_tune"]


@pytest.mark.parametrize(
    ("feature", "fault"),
    [
        ({"fine_tune": None}, "layer: action reads a head that OpenPose's own weights do not have"),
        ({"fine_tune": {"dataset": "liris", "frames": "x"}}, "exactly one of dataset and frames"),
        ({"fine_tune": {"dataset": "lirs"}}, "did you mean 'liris'"),
        ({"fine_tune": {"frames": "../x"}}, "must stay below its folder"),
    ],
)
def test_settings_that_make_no_sense(feature: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides={"features": {"openpose_action": feature}})
    assert fault in str(caught.value)


def test_only_networks_that_say_how_are_fine_tuned() -> None:
    with pytest.raises(ConfigError, match="only these can be fine-tuned: openpose_action, xception_face"):
        load(overrides={"features": {"googlenet": {"fine_tune": {"dataset": "liris"}}}})
