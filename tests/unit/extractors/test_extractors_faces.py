from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from utopia.errors import ChecksumError, InputError
from utopia.extractors import _mtcnn, xception_face
from utopia.extractors._mtcnn import MEMBERS, MTCNN, Faces, cells, corrected, mtcnn, pyramid, squared, suppressed
from utopia.extractors.xception_face import Config, FaceXception, Features, cut
from utopia.media.frames import sample_frames

CPU = torch.device("cpu")
PNET = {
    "conv1.weight": (10, 3, 3, 3), "conv1.bias": (10,), "prelu1.weight": (10,),
    "conv2.weight": (16, 10, 3, 3), "conv2.bias": (16,), "prelu2.weight": (16,),
    "conv3.weight": (32, 16, 3, 3), "conv3.bias": (32,), "prelu3.weight": (32,),
    "conv4_1.weight": (2, 32, 1, 1), "conv4_1.bias": (2,), "conv4_2.weight": (4, 32, 1, 1), "conv4_2.bias": (4,),
}  # fmt: skip
RNET = {
    "conv1.weight": (28, 3, 3, 3), "conv1.bias": (28,), "prelu1.weight": (28,),
    "conv2.weight": (48, 28, 3, 3), "conv2.bias": (48,), "prelu2.weight": (48,),
    "conv3.weight": (64, 48, 2, 2), "conv3.bias": (64,), "prelu3.weight": (64,),
    "dense4.weight": (128, 576), "dense4.bias": (128,), "prelu4.weight": (128,),
    "dense5_1.weight": (2, 128), "dense5_1.bias": (2,), "dense5_2.weight": (4, 128), "dense5_2.bias": (4,),
}  # fmt: skip
ONET = {
    "conv1.weight": (32, 3, 3, 3), "conv1.bias": (32,), "prelu1.weight": (32,),
    "conv2.weight": (64, 32, 3, 3), "conv2.bias": (64,), "prelu2.weight": (64,),
    "conv3.weight": (64, 64, 3, 3), "conv3.bias": (64,), "prelu3.weight": (64,),
    "conv4.weight": (128, 64, 2, 2), "conv4.bias": (128,), "prelu4.weight": (128,),
    "dense5.weight": (256, 1152), "dense5.bias": (256,), "prelu5.weight": (256,),
    "dense6_1.weight": (2, 256), "dense6_1.bias": (2,), "dense6_2.weight": (4, 256), "dense6_2.bias": (4,),
    "dense6_3.weight": (10, 256), "dense6_3.bias": (10,),
}  # fmt: skip
PUBLISHED = {"pnet": PNET, "rnet": RNET, "onet": ONET}


def archive(path: Path, leave_out: str = "") -> dict[str, str]:
    """An archive like the published one, with generated parameters; its members' sha256."""
    digests = {}
    with zipfile.ZipFile(path, "w") as opened:
        for name, shapes in PUBLISHED.items():
            generator = torch.Generator().manual_seed(len(shapes))
            buffer = io.BytesIO()
            torch.save({key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}, buffer)
            digests[name] = hashlib.sha256(buffer.getvalue()).hexdigest()
            if name != leave_out:
                opened.writestr(f"facenet_pytorch/data/{name}.pt", buffer.getvalue())
    return digests


def test_published_names_and_shapes_load_from_the_archive(tmp_path: Path) -> None:
    digests = archive(tmp_path / "wheel.whl")
    detector = mtcnn(tmp_path / "wheel.whl", 0, 20, digests)
    assert {name: tuple(value.shape) for name, value in detector.pnet.state_dict().items()} == PNET
    counts = [sum(value.numel() for value in getattr(detector, name).parameters()) for name in PUBLISHED]
    assert counts == [6_632, 100_178, 389_040]
    generator = torch.Generator().manual_seed(len(ONET))
    assert torch.equal(detector.onet.conv1.weight, torch.randn(ONET["conv1.weight"], generator=generator))


def test_archives_that_are_not_the_published_one_are_refused(tmp_path: Path) -> None:
    digests = archive(tmp_path / "wheel.whl")
    with pytest.raises(ChecksumError, match=r"pnet\.pt in it has the sha256"):
        mtcnn(tmp_path / "wheel.whl", 0, 20, MEMBERS)
    archive(tmp_path / "less.whl", leave_out="rnet")
    with pytest.raises(InputError, match=r"rnet\.pt"):
        mtcnn(tmp_path / "less.whl", 0, 20, digests)
    (tmp_path / "page.whl").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not in it"):
        mtcnn(tmp_path / "page.whl", 0, 20, digests)


def test_layers_have_the_published_shapes() -> None:
    """The proposal network sees cells of 12 pixels every 2; the others are made for 24 and 48."""
    detector = MTCNN()
    probability, shift = detector.pnet(torch.randn(2, 3, 40, 61))
    assert probability.shape == (2, 15, 26) and shift.shape == (2, 4, 15, 26)
    assert detector.pnet(torch.randn(1, 3, 12, 12))[0].shape == (1, 1, 1)
    assert detector.rnet(torch.randn(3, 3, 24, 24))[1].shape == (3, 4)
    assert detector.onet(torch.randn(3, 3, 48, 48))[1].shape == (3, 4)
    assert ((probability > 0) & (probability < 1)).all()


def test_pyramid_by_hand() -> None:
    # 12 / 20 = 0.6; 100 pixels are 60, 42.5, 30.2, 21.4, 15.2 and then 10.8, in which no cell fits.
    assert pyramid(100, 300, 20) == pytest.approx([0.6 * 0.709**power for power in range(5)])
    assert pyramid(19, 300, 20) == []
    assert pyramid(20, 20, 20) == [0.6]


def test_boxes_by_hand() -> None:
    # Cell (row 3, column 5) at scale 0.5 begins at pixel (10 + 1) / 0.5 and ends at (10 + 12) / 0.5.
    assert cells(torch.tensor([3]), torch.tensor([5]), 0.5).tolist() == [[22, 14, 44, 36]]
    assert squared(torch.tensor([[10.0, 20.0, 30.0, 60.0]])).tolist() == [[0, 20, 40, 60]]
    # 21 pixels wide and 41 high, both borders counted.
    moved = corrected(torch.tensor([[10.0, 20.0, 30.0, 60.0]]), torch.tensor([[1.0, 0.0, -1.0, 0.5]]))
    assert moved.tolist() == [[31, 20, 9, 80.5]]


def test_suppression_by_the_smaller_area() -> None:
    """A small box inside a large one shares all of its own area, little of the large one's."""
    boxes = torch.tensor([[0.0, 0, 99, 99], [10, 10, 19, 19], [200, 0, 299, 99], [60, 0, 159, 99]])
    assert suppressed(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.7) == [0, 2, 3]
    assert suppressed(boxes, torch.tensor([0.8, 0.9, 0.7, 0.6]), 0.7) == [1, 2, 3]
    assert suppressed(boxes[:0], torch.zeros(0), 0.7) == []


class Bright(nn.Module):
    """Takes bright cells or crops for faces, the more so the brighter: tells whether boxes are where they should be."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.size == 12:
            brightness = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 12, 2)[:, 0]
            return (brightness + 1) / 2, torch.zeros(len(x), 4, *brightness.shape[1:])
        return (x.mean((1, 2, 3)) + 1) / 2, torch.zeros(len(x), 4)


def bright() -> MTCNN:
    detector = MTCNN(20, (0.9, 0.95, 0.95))
    detector.pnet, detector.rnet, detector.onet = Bright(12), Bright(24), Bright(48)
    return detector.eval()


def squares(*places: tuple[int, int, int], height: int = 180, width: int = 240) -> torch.Tensor:
    frame = torch.zeros(3, height, width)
    for left, top, side in places:
        frame[:, top : top + side, left : left + side] = 255
    return frame


def test_the_cascade_finds_bright_squares_where_they_are_and_puts_the_largest_first() -> None:
    places = [(20, 30, 30), (120, 60, 80)]
    frames = torch.stack([squares(*places), squares(), squares((150, 20, 44))])
    found = bright()(frames)
    assert [len(faces.boxes) > 0 for faces in found] == [True, False, True]
    boxes = found[0].boxes
    inside = torch.tensor(
        [
            [box[0] > x - 5 and box[1] > y - 5 and box[2] < x + s + 5 and box[3] < y + s + 5 for x, y, s in places]
            for box in boxes
        ]
    )
    assert (inside.sum(1) == 1).all(), "every box lies in one of the squares"
    assert inside.any(0).all(), "both are found"
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    assert (areas.diff() <= 0).all() and areas[0] >= 19**2
    alone = bright()(frames[2:])[0]
    assert torch.allclose(alone.boxes, found[2].boxes)


def test_frames_too_small_for_a_face_have_none() -> None:
    assert len(MTCNN()(torch.full((1, 3, 15, 15), 255.0))[0].boxes) == 0


def test_real_weights_find_what_the_published_package_finds(shared_data: Path) -> None:
    """Boxes and probabilities that facenet-pytorch 2.6.0 gives of this clip's frames at 0 and 5 s (at 10 s none)."""
    weights = shared_data / "weights" / "facenet_pytorch-2.6.0-py3-none-any.whl"
    if not weights.is_file():
        pytest.skip(f"needs {weights.name} in the folder weights/ of the real data (see the card mtcnn)")
    detector = mtcnn(weights, 0, 20)
    published = {
        0: (230.23748779, 93.82942963, 254.44793701, 129.03097534, 0.80339515),
        5: (231.31880188, 94.19582367, 254.53948975, 127.79393005, 0.76322216),
        10: None,
    }
    for (_, frame), expected in zip(
        sample_frames(shared_data / "video" / "nasa_13013.mp4", fps=0.2), published.values(), strict=True
    ):
        faces = detector(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None])[0]
        assert len(faces.boxes) == (expected is not None)
        if expected:
            np.testing.assert_allclose([*faces.boxes[0], faces.probabilities[0]], expected, rtol=1e-4)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """The network as timm publishes it, classifier included, and a file of its names and shapes."""
    torch.manual_seed(3)
    network = timm.create_model("legacy_xception", pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.6)
    path = tmp_path_factory.mktemp("weights") / "xception-43020ad28.pth"
    torch.save(network.state_dict(), path)
    return network.eval(), path


def features(config: Config, weights: Path | None, found: list[torch.Tensor | None]) -> Features:
    """The extractor with a detector that says what it is told, frame by frame."""
    made = xception_face.tunable(config, weights, 5, "cpu")
    answers = iter(found)

    def told(frames: torch.Tensor) -> list[Faces]:
        boxes = [next(answers) for _ in frames]
        empty = torch.zeros(0, 4)
        return [Faces(empty if box is None else box[None].float(), torch.ones(1)) for box in boxes]

    made.detector = told  # type: ignore[assignment]
    return made


def test_features_are_block_12_and_what_comes_before_the_classifier(published: tuple[nn.Module, Path]) -> None:
    network, path = published
    assert sum(value.numel() for value in FaceXception(3072).parameters()) == 22_855_952 - 2048 * 1000 - 1000
    frame = np.random.default_rng(0).integers(0, 255, (299, 299, 3), np.uint8)
    whole = torch.tensor([0, 0, 299, 299])
    both = features(Config(), path, [whole])([frame])
    last = features(Config(width=2048), path, [whole])([frame])
    assert both.shape == (1, 3072) and np.array_equal(both[:, 1024:], last)
    middle = []
    handle = network.block12.register_forward_hook(lambda _, __, output: middle.append(output.mean((2, 3))))
    # 299 pixels are not resized; (x / 255 - 0.5) / 0.5
    image = (torch.from_numpy(frame).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.inference_mode():
        scores = network(image)
        ours = network.fc(torch.from_numpy(last))
    handle.remove()
    torch.testing.assert_close(ours, scores, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(both[:, :1024], middle[0].numpy(), rtol=1e-3, atol=1e-4)


def test_each_frame_gets_its_own_face_and_zeros_where_there_is_none(published: tuple[nn.Module, Path]) -> None:
    random = np.random.default_rng(1)
    small, large = (random.integers(0, 255, (2, height, 160, 3), np.uint8) for height in (90, 120))
    frames = [small[0], large[0], small[1], large[1]]
    box = torch.tensor([20.0, 10.0, 80.0, 70.0])
    # The detector is asked by size: first both small frames, then both large ones.
    rows = features(Config(size=71), published[1], [box, None, None, box])(frames)
    assert not rows[2].any() and not rows[1].any() and rows[0].any() and rows[3].any()
    for index in (0, 3):
        alone = features(Config(size=71), published[1], [torch.tensor([0, 0, 60, 60])])([frames[index][10:70, 20:80]])
        np.testing.assert_allclose(rows[index], alone[0], rtol=1e-4, atol=1e-5)
    instead = features(Config(size=71, no_face="frame"), published[1], [None])([small[1]])
    assert instead.any()


def test_cutting_stays_inside_the_image() -> None:
    image = torch.arange(50 * 100).reshape(1, 50, 100)
    assert torch.equal(cut(image, torch.tensor([10.9, 20.2, 30.0, 40.0]), 0.0), image[:, 20:40, 10:30])
    assert torch.equal(cut(image, torch.tensor([10.0, 20.0, 30.0, 40.0]), 0.5), image[:, 15:45, 5:35])
    assert torch.equal(cut(image, torch.tensor([-9.0, -3.0, 500.0, 12.0]), 0.2), image[:, :13, :])
    assert cut(image, torch.tensor([150.0, 90.0, 180.0, 120.0]), 0.0).shape == (1, 1, 1)


def test_drawn_weights_keep_activations_alive() -> None:
    frames = list(np.random.default_rng(5).integers(0, 255, (2, 96, 128, 3), np.uint8))
    made = xception_face.build(Config(weights="random", detector_weights="random", no_face="frame"), None, 11, "cpu")
    rows = made(frames)
    assert 0.05 < rows[:, :1024].std() < 20 and 0.05 < rows[:, 1024:].std() < 20
    assert _mtcnn.mtcnn(None, 1, 20).pnet.conv1.weight.std() > 0.1
