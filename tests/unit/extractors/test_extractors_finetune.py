from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.io import write_jpeg, write_png

from utopia import arrays
from utopia.errors import InputError
from utopia.extractors import openpose_action, xception_face
from utopia.extractors._finetune import Example, Manner, examples, finetune, split
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


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_classes_are_learned_and_the_file_gives_the_tuned_features(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "frames")
    network, output = tunable(), tmp_path / "openpose_action.safetensors"
    before = state(network.network)
    manner = Manner(epochs=8, batch=8, learning_rate=1e-2, inner_learning_rate=3e-4)
    tuned = finetune(network, openpose_action.TUNED, folder, output, manner, {"card": "random"})
    assert tuned.classes == ("horizontal", "vertical")
    assert (tuned.trained, tuned.held_out) == (24, 6)
    assert tuned.losses[-1] < 0.3 * tuned.losses[0]
    assert tuned.accuracies[tuned.epoch] == 1.0 == max(tuned.accuracies)

    saved = arrays.load(output)
    changed = {name for name in before if not np.array_equal(saved[name], before[name].numpy())}
    assert changed == {name for name in before if name.startswith(openpose_action.TUNED)}
    assert saved["classifier.weight"].shape == (2, 128)
    meta = saved.meta
    assert meta["fine_tuned_on"] == {"folder": "frames", "frames": {"horizontal": 15, "vertical": 15}}
    assert meta["manner"]["epochs"] == 8 and meta["base"] == {"card": "random"} and len(meta["held_out_groups"]) == 2
    assert meta["result"]["accuracies"] == list(tuned.accuracies)

    config = SMALL.model_copy(update={"layer": "action", "weights": "openpose_action"})
    frame = np.random.default_rng(2).integers(0, 255, (32, 32, 3), np.uint8)
    extracted = openpose_action.build(config, output, 0, "cpu")([frame])
    network.network.load_state_dict({name: torch.from_numpy(saved[name]) for name in before})
    assert np.array_equal(extracted, network([frame]))
    front = openpose_action.build(SMALL.model_copy(update={"weights": "openpose_action"}), output, 0, "cpu")([frame])
    assert front.shape == (1, 128) and not np.allclose(front, extracted)


def test_the_same_frames_give_the_same_file_and_the_classifier_alone_leaves_the_network(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "frames")
    digests = []
    for run in range(2):
        network = tunable()
        before = state(network.network)
        torch.manual_seed(run)
        finetune(network, (), folder, tmp_path / f"{run}.safetensors", Manner(epochs=2))
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

    network._detector = told  # type: ignore[assignment]
    running = state(network.network)["bn4.running_mean"]
    tuned = finetune(network, ("bn4.",), folder, tmp_path / "xception_face.safetensors", Manner(epochs=1))
    assert tuned.nothing_in == ("horizontal/h1/0.png",)  # the fourth in the order of names
    assert tuned.trained + tuned.held_out == 29
    assert len(asked) == 30, "a face is looked for once"
    saved = arrays.load(tmp_path / "xception_face.safetensors")
    assert np.array_equal(saved["bn4.running_mean"], running.numpy())
    again = xception_face.build(config.model_copy(update={"weights": "xception_face"}), saved.path, 0, "cpu")
    assert again([np.zeros((32, 32, 3), np.uint8)]).shape == (1, 2048)


def test_folders_that_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labelled frames of 0 classes"):
        finetune(tunable(), (), tmp_path, tmp_path / "x.safetensors")
    draw_frames(tmp_path / "one", ("only",))
    with pytest.raises(InputError, match="of 1 classes"):
        examples(tmp_path / "one")
    draw_frames(tmp_path / "few", videos=1)
    with pytest.raises(InputError, match="too few videos to hold some out"):
        finetune(tunable(), (), tmp_path / "few", tmp_path / "x.safetensors")
    folder = draw_frames(tmp_path / "bad")
    (folder / "vertical" / "v0" / "9.jpg").write_bytes(b"<html>")
    with pytest.raises(InputError, match="not a readable image") as caught:
        finetune(tunable(), (), folder, tmp_path / "x.safetensors")
    assert "9.jpg" in str(caught.value)
    with pytest.raises(InputError, match=r"begins with head\.9"):
        finetune(tunable(), ("head.9",), draw_frames(tmp_path / "good"), tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


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
        Example(Path(), f"{label}/{video}/{index}", label, str(video) if shared else f"{label}-{video}")
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
