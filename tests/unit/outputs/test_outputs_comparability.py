"""Features that are not the paper's make a number not comparable, and it says why; decided from real files' names."""

from __future__ import annotations

from pathlib import Path

import pytest

from utopia.config.load import load
from utopia.config.study import StudyBase
from utopia.errors import ConfigError
from utopia.outputs.comparability import of_features

MODALITIES = ("vggish", "vggish_music", "vgg16_places365", "openpose_action", "xception_face")


def paper(tmp_path: Path, extra: str = "") -> StudyBase:
    overlay = tmp_path / "extra.yaml"
    overlay.write_text(extra or "{}")
    return load({"study": "paper"}, [overlay])


@pytest.mark.parametrize(
    ("dataset", "chosen", "said"),
    [
        ("liris", ("vggish", "googlenet"), ["features vggish+googlenet, where the paper has vggish+vggish_music+"]),
        ("liris", MODALITIES, []),
        ("liris", tuple(reversed(MODALITIES)), []),
        (
            "liris",
            (*MODALITIES[:4], "xception_imagenet"),
            ["features vggish+vggish_music+", "xception_imagenet: Xception as trained on"],
        ),
        ("summe", ("dino_vitb16_summe",), ["DINO ViT-B/16 features instead of GoogLeNet pool5"]),
        ("summe", ("google_pool5_summe",), []),
        ("tvsum", ("googlenet",), []),
        ("eev", ("swin_l", "vggish_raw"), []),
        ("eev", ("inception_v3", "vggish_raw"), ["features inception_v3+vggish_raw, where the paper has swin_l+"]),
        ("pmemo", ("pmemo_opensmile",), []),
        ("liris", (), []),
    ],
)
def test_features_that_are_not_the_papers(
    tmp_path: Path, dataset: str, chosen: tuple[str, ...], said: list[str]
) -> None:
    reasons = of_features(paper(tmp_path), dataset, chosen)
    assert len(reasons) == len(said) and all(map(str.startswith, reasons, said)), reasons


def test_weights_that_are_not_fine_tuned(tmp_path: Path) -> None:
    bare = paper(
        tmp_path,
        "features:\n  openpose_action: {fine_tune: null, options: {layer: front}}\n"
        "  xception_face: {fine_tune: null}\n",
    )
    reasons = of_features(bare, "liris", MODALITIES)
    assert [reason.partition(":")[0] for reason in reasons] == ["openpose_action", "xception_face"], reasons
    drawn = paper(tmp_path, "features: {openpose_action: {options: {weights: random}}}")
    assert of_features(drawn, "liris", MODALITIES) == ("openpose_action: random weights",)


def test_fine_tuned_and_random_weights(tmp_path: Path) -> None:
    tuned = paper(
        tmp_path,
        "features:\n  openpose_action: {fine_tune: null, options: {weights: openpose_action}}\n"
        "  xception_face: {fine_tune: null, options: {weights: xception_face}}\n",
    )
    assert of_features(tuned, "liris", MODALITIES) == ()
    untrained = paper(tmp_path, "features: {googlenet: {options: {weights: random}}}")
    assert of_features(untrained, "tvsum", ("googlenet",)) == ("googlenet: random weights",)


def test_a_published_feature_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"extra\.yaml:1: .*no such entry in `features`"):
        paper(tmp_path, "datasets: {tvsum: {published_features: [[google_pool5]]}}")
