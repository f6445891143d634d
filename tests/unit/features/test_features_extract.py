from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make, tone

from utopia import arrays, seeds
from utopia.config import registry
from utopia.errors import ChecksumError, InputError
from utopia.features import extract, weights
from utopia.features.read import FeatureReader
from utopia.files import read_json, sha256, write_json
from utopia.media import decoding
from utopia.media.frames import sample_frames
from utopia.media.probe import probe

FRAMES = {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 2.0}}
COARSE = {"extractor": "googlenet", "options": {"weights": "random", "size": 40, "fps": 2.0, "batch": 3}}
SLOW = {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 1.0}}
SOUND = {"extractor": "vggish", "options": {"weights": "random"}}


@pytest.fixture(scope="module", autouse=True)
def small_vggish() -> Any:
    """VGGish's dense layers are 72 M numbers: draw them once for the whole file."""
    module, built = registry.load("extractors", "vggish"), {}
    original = module.build

    def build_once(*values: Any) -> Any:
        if str(values) not in built:
            built[str(values)] = original(*values)
        return built[str(values)]

    module.build = build_once
    yield
    module.build = original


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    make(folder / "one.mp4", frames=75, sound=tone(3), options={"g": "25"})
    make(folder / "two.mp4", frames=50, draw=lambda index: np.full((120, 160, 3), 3 * index, np.uint8))
    (folder / "short.mp4").write_bytes(make(folder / "s.mp4", frames=10, sound=tone(0.4)).read_bytes())
    whole = make(folder / "w.mkv", frames=150, options={"g": "50"}).read_bytes()
    (folder / "broken.mkv").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def manifest(tmp_path: Path, root: Path) -> Path:
    items: list[dict[str, Any]] = [
        {"id": "gone", "files": {}, "present": True, "video_reason": "the video is gone", "facts": {}}
    ]
    for path in sorted(root.glob("*.*")):
        if path.stem in ("one", "two", "short", "broken"):
            file = {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
            items.append({"id": path.stem, "files": {"video": file}, "present": True, "reason": None, "facts": {}})
    target = tmp_path / "features.json"
    write_json(target, {"dataset": "movies", "root": str(root), "items": items})
    return target


class Study:
    """Runs shards of one study."""

    def __init__(self, folder: Path, manifest: Path, root: Path) -> None:
        self.folder, self.manifest, self.root = folder, manifest, root

    def run(self, items: list[str], features: dict[str, Any], **other: Any) -> dict[str, Any]:
        self.output = self.folder / "features" / "movies" / "shard-0.json"
        settings: dict[str, Any] = {"weights_folder": None, "seed": 2307, "device": "cpu"} | other
        self.made = extract.extract_shard(
            manifest=self.manifest,
            root=self.root,
            items=items,
            features=features,
            store=self.folder / "features" / "store",
            output=self.output,
            **settings,
        )
        return read_json(self.output)


@pytest.fixture
def study(tmp_path: Path, manifest: Path, root: Path) -> Study:
    return Study(tmp_path, manifest, root)


def test_features_of_frames_and_sound(study: Study, root: Path) -> None:
    index = study.run(["one", "two"], {"frames": FRAMES, "sound": SOUND})
    assert index["dataset"] == "movies" and all(own["name"] == "pyav" for own in index["decoder"].values())
    assert index["weights"]["frames"] == {"kind": "random", "seed": seeds.derive(2307, "extractor", "googlenet")}
    assert index["items"]["two"]["sound"] == {"absent": "the file has no sound"}
    entry = index["items"]["one"]["frames"]
    assert (entry["rows"], entry["width"]) == (6, 1024)
    path = study.folder / "features" / entry["file"]
    assert entry["sha256"] == sha256(path) and path.parent.name == path.stem[:2]
    assert study.made == sorted(study.folder.glob("features/store/*/*.safetensors"))
    stored = arrays.load(path)
    assert stored["times"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert stored.meta["item"] == "one" and stored.meta["options"]["size"] == 32
    assert stored.meta["source_sha256"] == sha256(root / "one.mp4")
    reader = FeatureReader([study.output])
    features, times = reader.rows("one", "sound")
    assert features.shape == (3, 128) and times == pytest.approx([0.0, 0.96, 1.92])


def test_rows_are_the_network_on_the_sampled_frames(study: Study, root: Path) -> None:
    study.run(["one"], {"frames": COARSE})
    module = registry.load("extractors", "googlenet")
    network = module.build(
        module.Config(**COARSE["options"]), None, seeds.derive(2307, "extractor", "googlenet"), "cpu"
    )
    pictures = [pixels for _, pixels in sample_frames(root / "one.mp4", fps=2, skip=False)]
    expected = np.concatenate([network(pictures[:3]), network(pictures[3:])])
    assert np.array_equal(FeatureReader([study.output]).rows("one", "frames")[0], expected)


def test_a_video_is_decoded_once_for_all_networks_at_one_rate(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        decoding, "sample_frames", lambda path, **rate: seen.append(rate["fps"]) or sample_frames(path, **rate)
    )
    index = study.run(["one"], {"a": FRAMES, "b": COARSE, "c": SLOW})
    assert seen == [2.0, 1.0]
    assert {entry["rows"] for name, entry in index["items"]["one"].items() if name != "c"} == {6}
    study.run(["one"], {"a": FRAMES, "b": COARSE, "c": SLOW})
    assert seen == [2.0, 1.0], "what is in the store is not made again"


def test_every_nth_frame(study: Study) -> None:
    options = FRAMES["options"] | {"every": 15}
    study.run(["one"], {"frames": {"extractor": "googlenet", "options": options}})
    times = FeatureReader([study.output]).rows("one", "frames")[1]
    assert times == pytest.approx(np.arange(0, 75, 15) / 25)


def test_what_determines_a_feature_makes_another_object(study: Study) -> None:
    files = set()
    variants: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (FRAMES, {}),
        (SLOW, {}),
        (COARSE, {}),
        (FRAMES, {"seed": 1}),
        (FRAMES | {"code": "0123abcd"}, {}),
    ]
    for settings, other in variants:
        files.add(study.run(["two"], {"frames": settings}, **other)["items"]["two"]["frames"]["file"])
    assert len(files) == len(variants)
    same = study.run(["two"], {"renamed": FRAMES | {"normalise": "l2", "note": "n"}})["items"]["two"]["renamed"]["file"]
    assert same in files, "the name and what is done with the rows later do not matter"


def test_bad_videos_are_absences_and_the_others_are_made(study: Study) -> None:
    items = study.run(["broken", "gone", "short", "two"], {"frames": FRAMES, "sound": SOUND})["items"]
    assert "breaks off" in items["broken"]["frames"]["absent"]
    assert items["gone"] == {"frames": {"absent": "the video is gone"}, "sound": {"absent": "the video is gone"}}
    assert items["short"]["sound"] == {"absent": "too short for vggish"} and items["short"]["frames"]["rows"] == 1
    assert items["two"]["frames"]["rows"] == 4


def test_a_killed_shard_goes_on_where_it_was(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, **rate: Any) -> Any:
        if path.name == "two.mp4":
            raise KeyboardInterrupt
        return sample_frames(path, **rate)

    monkeypatch.setattr(decoding, "sample_frames", killed)
    with pytest.raises(KeyboardInterrupt):
        study.run(["one", "two"], {"frames": FRAMES})
    assert not study.output.exists()
    (kept,) = study.folder.glob("features/store/*/*")
    stamp = kept.stat().st_mtime_ns
    monkeypatch.setattr(decoding, "sample_frames", sample_frames)
    study.run(["one", "two"], {"frames": FRAMES})
    assert kept.stat().st_mtime_ns == stamp and len(study.made) == 2


def test_a_damaged_object_is_made_again(study: Study) -> None:
    entry = study.run(["two"], {"frames": FRAMES})["items"]["two"]["frames"]
    path = study.folder / "features" / entry["file"]
    path.write_bytes(path.read_bytes()[:100])
    assert study.run(["two"], {"frames": FRAMES})["items"]["two"]["frames"] == entry
    assert sha256(path) == entry["sha256"]


def test_a_network_that_gives_no_numbers_is_an_absence(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    module = registry.load("extractors", "googlenet")
    build = module.build

    def spoilt(*values: Any) -> Any:
        network = build(*values)
        next(network.network.parameters()).fill_(float("nan"))
        return network

    monkeypatch.setattr(module, "build", spoilt)
    absent = study.run(["two"], {"frames": FRAMES})["items"]["two"]["frames"]["absent"]
    assert "4 rows hold values that are not numbers" in absent
    assert not list(study.folder.glob("features/store/*/*"))


def test_a_video_that_is_not_the_listed_one_is_refused(
    study: Study, manifest: Path, root: Path, tmp_path: Path
) -> None:
    listed = read_json(manifest)
    next(item for item in listed["items"] if item["id"] == "two")["files"]["video"]["sha256"] = "0" * 64
    write_json(manifest, listed)
    with pytest.raises(ChecksumError, match=r"two.mp4: its sha256 is"):
        study.run(["two"], {"frames": FRAMES})
    with pytest.raises(InputError, match="does not list three"):
        study.run(["three"], {"frames": FRAMES})


def test_weights_that_are_not_there_are_an_absence_for_all(study: Study, tmp_path: Path) -> None:
    index = study.run(["one", "two"], {"frames": {"extractor": "googlenet", "options": {}}, "sound": SOUND})
    assert "googlenet-1378be20.pth" in index["items"]["two"]["frames"]["absent"]
    assert "absent" in index["weights"]["frames"] and "file" in index["items"]["one"]["sound"]


def test_published_weights_are_checked_and_recorded(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchvision.models import googlenet

    path = tmp_path / "weights" / "googlenet-1378be20.pth"
    path.parent.mkdir()
    torch.save(googlenet(weights=None, aux_logits=True, init_weights=False).state_dict(), path)
    settings = {"extractor": "googlenet", "options": {"size": 32}}
    with pytest.raises(ChecksumError, match="1378be20"):
        study.run(["two"], {"frames": settings}, weights_folder=path.parent)
    real = weights.card("googlenet_imagenet")
    monkeypatch.setattr(weights, "card", lambda name: real.model_copy(update={"sha256_prefix": sha256(path)[:8]}))
    index = study.run(["two"], {"frames": settings}, weights_folder=path.parent)
    assert index["items"]["two"]["frames"]["rows"] == 4
    expected = {"kind": "card", "card": "googlenet_imagenet", "file": path.name, "sha256": sha256(path)}
    assert index["weights"]["frames"] == expected


def test_real_clip(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "video" / "nasa_13013.mp4"
    file = {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
    item = {"id": "nasa", "files": {"video": file}, "facts": probe(path).as_dict()}
    write_json(tmp_path / "manifest.json", {"dataset": "movies", "items": [item]})
    study = Study(tmp_path, tmp_path / "manifest.json", path.parent)
    items = study.run(["nasa"], {"frames": FRAMES, "sound": SOUND})["items"]
    assert (items["nasa"]["frames"]["rows"], items["nasa"]["sound"]["rows"]) == (27, 13)
    reader = FeatureReader([study.output])
    frames, times = reader.rows("nasa", "frames")
    assert frames.shape == (27, 1024) and times.tolist() == [k / 2 for k in range(27)]
    sound, starts = reader.rows("nasa", "sound")
    assert sound.shape == (13, 128) and starts == pytest.approx([0.96 * k for k in range(13)])
    assert len(times) == -(-2 * probe(path).duration_s // 1), "as many rows as sample times before the end"
    stored = arrays.load(study.folder / "features" / items["nasa"]["frames"]["file"])
    assert stored.meta["decoder"]["name"] == "pyav" and stored.meta["decoder"]["libavcodec"]


def test_weights_of_no_published_checksum_need_one_in_the_study(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchvision.models import googlenet

    path = tmp_path / "weights" / "googlenet-1378be20.pth"
    path.parent.mkdir()
    torch.save(googlenet(weights=None, aux_logits=False, init_weights=False).state_dict(), path)
    real = weights.card("googlenet_imagenet")
    monkeypatch.setattr(weights, "card", lambda name: real.model_copy(update={"sha256_prefix": None}))
    settings = {"extractor": "googlenet", "options": {"size": 32}, "sha256": {}}
    with pytest.raises(ChecksumError, match="nothing says which one is right"):
        study.run(["two"], {"frames": settings}, weights_folder=path.parent)
    named = settings | {"sha256": {"googlenet_imagenet": sha256(path)}}
    index = study.run(["two"], {"frames": named}, weights_folder=path.parent)
    assert index["items"]["two"]["frames"]["rows"] == 4
    assert index["weights"]["frames"]["sha256"] == sha256(path)
