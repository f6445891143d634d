"""Features that are not the paper's make a number not comparable, and it says why; decided from real files' names."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia.cli.plan import describe, in_words
from utopia.config.load import load
from utopia.config.study import StudyBase
from utopia.errors import ConfigError
from utopia.evaluation.summaries import reasons
from utopia.files import write_json
from utopia.inputs.manifest import list_inputs
from utopia.labels.build import build_labels
from utopia.labels.read import Labels
from utopia.plan.availability import unlike_published
from utopia.plan.plan import Plan

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
    told = unlike_published(paper(tmp_path), dataset, chosen)
    assert len(told) == len(said) and all(map(str.startswith, told, said)), told


def test_weights_that_are_not_fine_tuned(tmp_path: Path) -> None:
    bare = paper(
        tmp_path,
        "features:\n  openpose_action: {fine_tune: null, options: {layer: front}}\n"
        "  xception_face: {fine_tune: null}\n",
    )
    told = unlike_published(bare, "liris", MODALITIES)
    assert [reason.partition(":")[0] for reason in told] == ["openpose_action", "xception_face"], told
    drawn = paper(tmp_path, "features: {openpose_action: {options: {weights: random}}}")
    assert unlike_published(drawn, "liris", MODALITIES) == ("openpose_action: random weights",)


def test_fine_tuned_and_random_weights(tmp_path: Path) -> None:
    tuned = paper(
        tmp_path,
        "features:\n  openpose_action: {fine_tune: null, options: {weights: openpose_action}}\n"
        "  xception_face: {fine_tune: null, options: {weights: xception_face}}\n",
    )
    assert unlike_published(tuned, "liris", MODALITIES) == ()
    untrained = paper(tmp_path, "features: {googlenet: {options: {weights: random}}}")
    assert unlike_published(untrained, "tvsum", ("googlenet",)) == ("googlenet: random weights",)


def own_shots(folder: Path, shared_data: Path) -> Path:
    """The file of shots of a copy of SumMe's annotations below `folder`, to be changed."""
    own = folder / "summe"
    shutil.copytree(shared_data / "summe" / "GT", own / "GT")
    shots = own / "summe_labels.h5"
    shutil.copyfile(shared_data / "summe" / shots.name, shots)
    shots.chmod(0o644)
    return shots


def test_a_file_that_is_not_the_published_one_is_named_by_every_value(tmp_path: Path, shared_data: Path) -> None:
    """Shots made from other features, under the published name: rows without training stand on them as well."""
    shots = own_shots(tmp_path, shared_data)

    def notes() -> set[tuple[str, ...]]:
        study = {"study": "paper", "data": str(tmp_path), "tables": ["ulda_table_2"], "figures": []}
        plan = Plan(load(study | {"datasets": {"summe": {"options": {"checksums": "record"}}}}))
        assert plan.datasets["summe"].shots == shots.name
        assert f"shots: {shots.name}" in "\n".join(in_words(describe(plan, []), []))
        return {tuple(plan.not_comparable(run)) for name, run in plan.runs.items() if name.startswith("summe.")}

    assert notes() == {()}
    with h5py.File(shots, "a") as file:
        ends = file["video_1/change_points"][()]
        del file["video_1/change_points"]
        file["video_1/change_points"] = np.concatenate([ends[:-2], [[ends[-2, 0], ends[-1, 1]]]])
    assert notes() == {("summe_labels.h5 is not the published file",)}


def test_files_of_the_published_size_are_told_by_their_checksums(tmp_path: Path, shared_data: Path) -> None:
    """What the plan cannot see, the labels tell."""
    shots = own_shots(tmp_path, shared_data)
    with h5py.File(shots, "a") as file:
        file["video_1/change_points"][0, 1] += 1
        file["video_1/change_points"][1, 0] += 1
    common = {"dataset": "summe", "folder": shots.parent, "options": {"checksums": "record"}}
    list_inputs(**common, output=tmp_path / "summe.json")
    limits = {"low": 0.0, "high": 1.0}
    build_labels(
        **common, manifest=tmp_path / "summe.json", distribution=limits, output=tmp_path / "labels.safetensors"
    )
    assert Labels(tmp_path / "labels.safetensors").meta["unlike_published"] == [
        "summe_labels.h5 is not the published file"
    ]


def test_a_published_feature_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"extra\.yaml:1: .*no such entry in `features`"):
        paper(tmp_path, "datasets: {tvsum: {published_features: [[google_pool5]]}}")


def test_an_epoch_chosen_on_the_test_items_is_said_in_the_cell_and_its_gain_is_a_cell(tmp_path: Path) -> None:
    """Both choices are reported; nothing but the choice of the epoch differs between the two runs."""
    study = {"study": "miniature", "tables": ["beyond_selection"], "figures": [], "datasets": {}}
    plan = Plan(load(study))
    cells = {cell.row.id: cell for cell in plan.cells if cell.column.id == "summe.f_score"}
    fair, oracle = (cells[name].run for name in ("pgl_sum.training", "pgl_sum.test"))
    assert fair is not None and oracle is not None and cells["pgl_sum.test"].row.against == "pgl_sum.training"
    chosen = [run.settings["model_config"]["training"].pop("selection") for run in (fair, oracle)]
    assert chosen == ["pgl_rule", "best_test"]
    same = [{name: value for name, value in run.settings.items() if name != "id"} for run in (fair, oracle)]
    assert same[0] == same[1]
    for name, is_oracle in (("fair", False), ("oracle", True)):
        write_json(
            tmp_path / f"{name}.json",
            {"run": name, "items": {}, "left_out": {}, "folds": {}, "dropped_folds": {}, "oracle": is_oracle},
        )
    said = reasons({}, [tmp_path / "fair.json", tmp_path / "oracle.json"])
    assert said == {"fair": "", "oracle": "the epoch was selected on the test items (an oracle)"}
