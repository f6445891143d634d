from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.io import write_jpeg, write_png

from utopia import arrays
from utopia.config.extraction import FineTune
from utopia.errors import InputError
from utopia.extractors import openpose_action, xception_face
from utopia.extractors._finetune import Lesson, TuningExample, TuningWork, examples, finetune, labelled_frames, split
from utopia.extractors._mtcnn import Faces
from utopia.files import sha256

SMALL = openpose_action.Config(weights="random", height=32, width=32)


def draw_frames(folder: Path, classes: tuple[str, ...] = ("horizontal", "vertical"), videos: int = 5) -> Path:
    """Frames of stripes, horizontal or vertical, in noise of another brightness in every video."""
    random = np.random.default_rng(0)
    for number, name in enumerate(classes):
        for video in range(videos):
            place = folder / name / f"{name[0]}{video}"
            place.mkdir(parents=True)
            for index in range(3):
                stripes = (np.arange(32) // 4 % 2) * 90 + random.integers(20, 60)
                image = np.broadcast_to(stripes[:, None] if number % 2 == 0 else stripes[None], (3, 32, 32))
                pixels = np.clip(image + random.normal(0, 12, (3, 32, 32)), 0, 255).astype(np.uint8)
                write_png(torch.from_numpy(pixels), str(place / f"{index}.png"))
    return folder


def tunable(seed: int = 3) -> openpose_action.Features:
    return openpose_action.tunable(SMALL, None, seed, "cpu")


def settings(**how: float) -> FineTune:
    return FineTune.model_validate({"frames": "frames", **how})


def tune(folder: Path, output: Path, how: FineTune | None = None, tuned: tuple[str, ...] = ()) -> Path:
    finetune(tunable(), tuned, labelled_frames(folder), output, how or settings(), 0, {})
    return output


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_cudnn_is_left_on_and_computes_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.backends.cudnn.flags` turns it off, and tf32 on, where it is not told otherwise."""
    cudnn, seen = torch.backends.cudnn, []

    def watch(self: TuningWork, ordered: object) -> float:
        seen.append((cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))
        return 0.0

    monkeypatch.setattr(TuningWork, "train", watch)
    before = cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    tune(draw_frames(tmp_path / "frames"), tmp_path / "tuned.safetensors", settings(epochs=1))
    assert seen == [(True, False, True, False)]
    assert (cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == before


@pytest.mark.long
def test_classes_are_learned_and_the_file_gives_the_tuned_features(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "frames")
    network, output = tunable(), tmp_path / "openpose_action.safetensors"
    before = state(network.network)
    how = settings(epochs=8, batch=8, learning_rate=1e-2, inner_learning_rate=3e-4)
    tuned = finetune(network, openpose_action.TUNED, labelled_frames(folder), output, how, 0, {"card": "random"})
    assert tuned.names == ("horizontal", "vertical")
    assert (tuned.trained, tuned.held_out) == (24, 6)
    assert tuned.losses[-1] < 0.3 * tuned.losses[0]
    assert tuned.scores[tuned.epoch] == 1.0 == max(tuned.scores)

    saved = arrays.load(output)
    changed = {name for name in before if not np.array_equal(saved[name], before[name].numpy())}
    assert changed == {name for name in before if name.startswith(openpose_action.TUNED)}
    assert saved["classifier.weight"].shape == (2, 128)
    meta = saved.meta
    assert meta["fine_tuned_on"] == {"folder": "frames", "frames": {"horizontal": 15, "vertical": 15}}
    assert meta["settings"]["epochs"] == 8 and meta["base"] == {"card": "random"} and len(meta["held_out_groups"]) == 2
    assert meta["result"]["scores"] == list(tuned.scores)

    config = SMALL.model_copy(update={"layer": "action", "weights": "openpose_action"})
    frame = np.random.default_rng(2).integers(0, 255, (32, 32, 3), np.uint8)
    extracted = openpose_action.build(config, output, 0, "cpu")([frame])
    network.network.load_state_dict({name: torch.from_numpy(saved[name]) for name in before})
    np.testing.assert_allclose(extracted, network([frame]), rtol=1e-4, atol=1e-5)
    front = openpose_action.build(config.model_copy(update={"layer": "front"}), output, 0, "cpu")([frame])
    assert front.shape == (1, 128) and not np.allclose(front, extracted)


def test_the_same_frames_give_the_same_file_and_the_classifier_alone_leaves_the_network(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "frames")
    digests = []
    for run in range(2):
        network = tunable()
        before = state(network.network)
        torch.manual_seed(run)
        finetune(network, (), labelled_frames(folder), tmp_path / f"{run}.safetensors", settings(epochs=2), 0, {})
        digests.append(sha256(tmp_path / f"{run}.safetensors"))
        assert all(torch.equal(value, before[name]) for name, value in network.network.state_dict().items())
    assert digests[0] == digests[1]


def test_frames_without_a_face_are_left_out_and_named(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "frames")
    config = xception_face.Config(weights="random", detector_weights="random", size=64, width=2048)
    network = xception_face.tunable(config, None, 1, "cpu")
    asked = []

    def told(frames: torch.Tensor) -> list[Faces]:
        asked.append(len(frames))
        box = torch.tensor([[2.0, 2.0, 30.0, 30.0]])
        return [Faces(box[: 0 if len(asked) == 4 else 1], torch.ones(1))]

    network.detector = told  # type: ignore[assignment]
    running = state(network.network)["bn4.running_mean"]
    output = tmp_path / "xception_face.safetensors"
    tuned = finetune(network, ("bn4.",), labelled_frames(folder), output, settings(epochs=1), 0, {})
    assert tuned.nothing_in == ("horizontal/h1/0.png",)  # the fourth in the order of names
    assert tuned.trained + tuned.held_out == 29
    assert len(asked) == 30, "a face is looked for once"
    saved = arrays.load(output)
    assert np.array_equal(saved["bn4.running_mean"], running.numpy())
    again = xception_face.build(config.model_copy(update={"weights": "xception_face"}), saved.path, 0, "cpu")
    assert again([np.zeros((32, 32, 3), np.uint8)]).shape == (1, 2048)


def test_folders_that_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labelled frames of 0 classes"):
        tune(tmp_path, tmp_path / "x.safetensors")
    draw_frames(tmp_path / "one", ("only",))
    with pytest.raises(InputError, match="of 1 classes"):
        examples(tmp_path / "one")
    draw_frames(tmp_path / "few", videos=1)
    with pytest.raises(InputError, match="too few videos to hold some out"):
        tune(tmp_path / "few", tmp_path / "x.safetensors")
    folder = draw_frames(tmp_path / "bad")
    (folder / "vertical" / "v0" / "9.jpg").write_bytes(b"<html>")
    with pytest.raises(InputError, match="not a readable image") as caught:
        tune(folder, tmp_path / "x.safetensors")
    assert "9.jpg" in str(caught.value)
    with pytest.raises(InputError, match=r"begins with head\.9"):
        tune(draw_frames(tmp_path / "good"), tmp_path / "x.safetensors", tuned=("head.9",))
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.long
def test_a_stopped_fine_tuning_continues_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, how = draw_frames(tmp_path / "frames"), settings(epochs=4, learning_rate=1e-2)
    whole = tune(folder, tmp_path / "whole.safetensors", how, openpose_action.TUNED)
    stopped, original, epochs = tmp_path / "stopped.safetensors", TuningWork.train, []

    def stop(self: TuningWork, ordered: list[TuningExample]) -> float:
        epochs.append(len(self.losses))
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return original(self, ordered)

    monkeypatch.setattr(TuningWork, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(folder, stopped, how, openpose_action.TUNED)
    assert not stopped.exists() and (tmp_path / "stopped.half.safetensors").exists()
    tune(folder, stopped, how, openpose_action.TUNED)
    assert epochs == [0, 1, 2, 2, 3], "two epochs are not done again"
    assert stopped.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "stopped.half.safetensors").exists()


def test_what_other_settings_have_half_done_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output, epochs = draw_frames(tmp_path / "frames"), tmp_path / "x.safetensors", []

    def note(self: TuningWork, ordered: list[TuningExample]) -> float:
        epochs.append(len(self.losses))
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(TuningWork, "train", note)
    with pytest.raises(KeyboardInterrupt):
        tune(folder, output, settings(epochs=2))
    tune(folder, output, settings(epochs=2, learning_rate=0.5))
    assert epochs == [0, 1, 0, 1]


@pytest.mark.long
def test_values_are_learned_with_the_squared_error(tmp_path: Path) -> None:
    """Brightness is the value; frames lie in one file per video, as those of a data set do."""
    random, found = np.random.default_rng(1), []
    for video in range(6):
        truth = random.uniform(-1, 1, (5, 2))
        pixels = 128 + 100 * truth.mean(axis=1)[:, None, None, None] + random.normal(0, 3, (5, 32, 32, 3))
        np.save(tmp_path / f"{video}.npy", pixels.clip(0, 255).astype(np.uint8))
        for row, values in enumerate(truth):
            found.append(TuningExample(tmp_path / f"{video}.npy", f"{video} {row}", 0, f"v{video}", tuple(values), row))
    lesson = Lesson(found, ("arousal", "valence"), True, {"dataset": "toy"}, "0" * 64)
    how = FineTune(dataset="toy", epochs=12, batch=5, learning_rate=0.02, held_out=0.3)
    tuned = finetune(tunable(), openpose_action.TUNED, lesson, tmp_path / "x.safetensors", how, 0, {})
    assert tuned.names == ("arousal", "valence") and (tuned.trained, tuned.held_out) == (20, 10)
    held_out = set(arrays.load(tmp_path / "x.safetensors").meta["held_out_groups"])
    spread = np.var([example.values for example in found if example.group in held_out], axis=0).mean()
    assert 0 < -tuned.scores[tuned.epoch] < 0.8 * spread, "better than the mean"
    assert tuned.losses[-1] < 0.5 * tuned.losses[0]


def test_flat_folders_and_jpegs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            write_jpeg(torch.full((3, 20, 30), 40 * index, dtype=torch.uint8), str(tmp_path / name / f"{index}.JPG"))
    (tmp_path / "notes.txt").write_text("no frame")
    classes, found = examples(tmp_path)
    assert classes == ("a", "b") and [example.name for example in found][:2] == ["a/0.JPG", "a/1.JPG"]
    assert len({example.group for example in found}) == 8


@given(
    sizes=st.lists(st.lists(st.integers(1, 4), min_size=3, max_size=6), min_size=2, max_size=4),
    shared=st.booleans(),
    seed=st.integers(0, 5),
)
def test_no_video_is_on_both_sides(sizes: list[list[int]], shared: bool, seed: int) -> None:
    found = [
        TuningExample(Path(), f"{label}/{video}/{index}", label, str(video) if shared else f"{label}-{video}")
        for label, videos in enumerate(sizes)
        for video, count in enumerate(videos)
        for index in range(count)
    ]
    try:
        training, held_out = split(found, 0.2, seed)
    except InputError:
        assert shared, "videos of one class can always be parted"
        return
    assert not {example.group for example in training} & {example.group for example in held_out}
    assert len(training) + len(held_out) == len(found)
    for label in range(len(sizes)):
        count = sum(example.label == label for example in found)
        assert sum(example.label == label for example in held_out) >= 0.2 * count
