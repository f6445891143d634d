"""Loading a study: precedence of layers, and what is said of each kind of fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from utopia.config import registry
from utopia.config.load import CONFIG, RESOURCES, load

FIRST_DATASET = "liris"


def test_a_valid_study_is_read(files) -> None:
    study = files.load()
    assert study.study == "small"
    assert study.treatments["both"].sampler == "tns"
    assert study.features["frames"].options.fps == 1.0
    assert study.dataset(FIRST_DATASET).distribution.bins == 10
    assert study.root == Path("results/small")


def test_layers_stand_above_one_another(files, tmp_path: Path) -> None:
    assert files.load().seed == 11, "the overlay stands above config.yaml"
    above = tmp_path / "above.yaml"
    above.write_text("seed: 13\ndatasets: {liris: {shard: 2}}\n")
    assert files.load(files=[above]).seed == 13
    study = files.load(files=[above], overrides={"seed": 14})
    assert study.seed == 14
    liris = study.dataset("liris")
    assert (liris.shard, liris.folder) == (2, "liris"), "mappings are merged, not replaced"


def test_lists_are_replaced_not_joined(files) -> None:
    study = files.load(overrides={"datasets": {"liris": {"features": [["frames"]]}}})
    assert study.dataset("liris").features == [["frames"]]


def test_an_override_chooses_the_overlay(files) -> None:
    study = files.load(overrides={"study": "other"})
    assert (study.study, study.seed) == ("other", 12)


def test_an_overlay_cannot_name_another_study(files, refused) -> None:
    (files.studies / "small.yaml").write_text("# a copy\nstudy: other\n")
    message = refused(files)
    assert f"{files.studies / 'small.yaml'}:2: " in message
    assert "'other'" in message


@pytest.mark.parametrize("name", ["smal", None, 7, ["small"], "../small"])
def test_unknown_study(files, refused, name) -> None:
    files.change("study: small", f"study: {name!r}" if name is not None else "study:")
    message = refused(files)
    assert files.at("study:") in message
    assert "use one of: other, small" in message
    if name == "smal":
        assert "did you mean 'small'?" in message


def test_unknown_study_on_the_command_line(files, refused) -> None:
    assert "command line (--config): there is no study 'papper'" in refused(files, overrides={"study": "papper"})


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("seed: 10", "sed: 10", "sed", "seed"),
        ("    folder: liris", "    folder: liris\n    shards: 3", "datasets.liris.shards", "shard"),
        ("bins: 10", "bins: 10, bin: 3", "datasets.liris.distribution.bin", "bins"),
        ("loss: mse", "loss: mse\n    samler: tns", "treatments.baseline.samler", "sampler"),
        ("files: [a.h5]", "files: [a.h5], arry: x", "features.pool5.arry", "array"),
        ("      fps: 1.0", "      fps: 1.0\n      weigths: random", "features.frames.options.weigths", "weights"),
    ],
)
def test_unknown_key_at_any_depth(files, refused, old: str, new: str, key: str, nearest: str) -> None:
    message = refused(files.change(old, new))
    leaf = key.rsplit(".", 1)[-1]
    assert f"{files.at(leaf + ':')}: {key}: unknown key; did you mean {nearest!r}?" in message
    assert "allowed here: " in message
    assert nearest in message.split("allowed here: ")[1]


def test_unknown_component(files, refused) -> None:
    files.config.write_text(files.config.read_text() + "models:\n  ett: {d_model: 8}\n")
    message = refused(files)
    assert f"{files.at('ett:')}: models.ett: unknown key; did you mean 'et'?" in message


def test_unknown_data_set_names_the_missing_one_too(files, refused) -> None:
    message = refused(files.change("  liris:", "  lirris:"))
    assert f"{files.at('lirris:')}: datasets.lirris: unknown key; did you mean 'liris'?" in message
    assert f"{files.at('datasets:')}: datasets.liris: this setting is required" in message
    assert "2 faults" in message


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("seed: 10", "repeats: many", "repeats", ["found 'many'", "must be a valid integer"]),
        ("seed: 10", "repeats: 0", "repeats", ["found 0", "must be greater than or equal to 1"]),
        ("seed: 10", "repeats:", "repeats", ["found nothing (null)", "integer"]),
        ("seed: 10", "repeats: [3]", "repeats", ["found [3]", "integer"]),
        ("bins: 10", "bins: 1", "datasets.liris.distribution.bins", ["found 1", "greater than or equal to 2"]),
        ("delta: 0.3", "delta: .nan", "datasets.liris.distribution.delta", ["found nan", "finite"]),
        ("low: 0.0", "low: 2.0", "datasets.liris.distribution", ["high (1.0) must be greater than low (2.0)"]),
        ("seed: 10", "device: gpu", "device", ["found 'gpu'", "'auto', 'cpu' or 'cuda'", "did you mean 'cpu'?"]),
        ("fps: 1.0", "fps: -1", "features.frames.options.fps", ["found -1", "greater than 0"]),
        ("seed: 10", "tables: al", "tables", ["found 'al'", "must be 'all', or a valid list", "did you mean 'all'?"]),
        ("seed: 10", "tables: [1]", "tables.0", ["found 1", "valid string"]),
        ("seed: 10", "generated: yes", "generated", ["found True", "mapping of settings"]),
        ("    folder: liris", "    folder: ''", "datasets.liris.folder", ["found ''", "at least 1 character"]),
    ],
)
def test_wrong_values(files, refused, old: str, new: str, key: str, words: list[str]) -> None:
    message = refused(files.change(old, new))
    leaf = new.split(":")[0].strip() if key != "datasets.liris.distribution" else "distribution"
    assert f"{files.at(leaf + ':')}: {key}: " in message
    for word in words:
        assert word in message


def test_a_required_setting_is_missed_at_its_parent(files, refused) -> None:
    message = refused(files.change("    folder: liris\n", ""))
    assert f"{files.at('liris:')}: datasets.liris.folder: this setting is required" in message


def test_a_missing_section_is_said_of_the_file(files, refused) -> None:
    text = files.config.read_text()
    files.config.write_text(text[: text.index("treatments:")])
    assert f"  {files.config}: treatments: this setting is required" in refused(files)


def test_all_faults_at_once(files, refused) -> None:
    files.change("seed: 10", "sed: 10\nrepeats: none").change("bins: 10", "bins: x").change("[pool5]", "[pool6]")
    message = refused(files.change("loss: cwl", "loss: cwll"))
    assert "5 faults" in message
    for key in ("sed:", "repeats:", "bins: x", "pool6", "cwll"):
        assert files.at(key) in message


def test_an_unknown_extractor(files, refused) -> None:
    message = refused(files.change("extractor: googlenet", "extractor: googelnet"))
    where = f"{files.at('googelnet')}: features.frames.extractor: "
    assert where + "found 'googelnet': there is no such extractor; did you mean 'googlenet'?" in message
    assert f"allowed: {', '.join(sorted(['csv', 'hdf5', *registry.names('extractors')]))}" in message


def test_a_feature_without_an_extractor(files, refused) -> None:
    message = refused(files.change("extractor: hdf5, ", ""))
    assert f"{files.at('pool5: {')}: features.pool5.extractor: this setting is required" in message


def test_a_fault_of_a_union_member_hides_its_label(files, refused) -> None:
    message = refused(files.change("fps: 1.0", "fps: fast"))
    assert f"{files.at('fps:')}: features.frames.options.fps: found 'fast'" in message


def test_a_treatment_with_an_unknown_loss(files, refused) -> None:
    message = refused(files.change("loss: mse", "loss: mes"))
    assert f"{files.at('loss: mes')}: treatments.baseline.loss: found 'mes': must be one of the losses: " in message
    assert "did you mean 'mse'?" in message


def test_a_treatment_with_an_unknown_sampler(files, refused) -> None:
    message = refused(files.change("sampler: tns", "sampler: tnt"))
    assert f"{files.at('tnt')}: treatments.both.sampler: found 'tnt': must be one of the samplers: " in message


def test_a_data_set_with_an_unknown_feature(files, refused) -> None:
    message = refused(files.change("[[pool5], [frames]]", "[[pool5], [frame]]"))
    where = f"{files.at('[frame]')}: datasets.liris.features.1.0: "
    assert where + "found 'frame': no such entry in `features`; did you mean 'frames'?" in message
    assert "allowed here: frames, pool5" in message


@pytest.mark.parametrize("name", ["Pool5", "my pool", "a/b"])
def test_names_that_become_file_names(files, refused, name: str) -> None:
    message = refused(files.change("  pool5:", f"  {name}:"))
    assert f"features.{name}: as a name: must match pattern" in message
    assert files.at(f"{name}:") in message


def test_a_key_that_yaml_does_not_read_as_text(files, refused) -> None:
    files.config.write_text(files.config.read_text() + "losses:\n  on: {}\n")
    message = refused(files)
    assert files.at("losses:") in message or files.at("on:") in message
    assert "put it in quotes" in message


def test_a_fault_is_located_in_the_layer_that_brought_it(files, refused, tmp_path: Path) -> None:
    above = tmp_path / "above.yaml"
    above.write_text("# comment\nrepeats: -1\n")
    assert f"  {above}:2: repeats: found -1" in refused(files, above=[above])
    overlay = files.studies / "small.yaml"
    overlay.write_text("\n\nrepeats: -2\n")
    assert f"  {overlay}:3: repeats: found -2" in refused(files)
    message = refused(files, overrides={"repeats": -3})
    assert "  command line (--config): repeats: found -3" in message
    assert str(overlay) not in message


def test_a_nested_override_is_located_on_the_command_line(files, refused) -> None:
    message = refused(files, overrides={"datasets": {"liris": {"distribution": {"bins": 1}}}})
    assert "  command line (--config): datasets.liris.distribution.bins: found 1" in message


def test_text_from_the_command_line_becomes_numbers(files) -> None:
    study = files.load(overrides={"repeats": "2", "datasets": {"liris": {"shard": "3"}}})
    assert (study.repeats, study.dataset("liris").shard) == (2, 3)


def test_data_is_taken_from_the_folder_of_the_configuration(files, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my data").mkdir()
    monkeypatch.chdir("/")
    assert files.load(overrides={"data": "my data"}).data == tmp_path / "my data"
    assert files.load(overrides={"data": f"{tmp_path}/studies/../my data"}).data == tmp_path / "my data"


def test_data_that_is_not_there(files, refused, tmp_path: Path) -> None:
    files.change("seed: 10", "data: nowhere")
    message = refused(files)
    assert f"{files.at('data: nowhere')}: data: found 'nowhere': there is no such folder" in message
    assert "is not a folder" in refused(files, overrides={"data": str(files.config)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_data_that_cannot_be_read(files, refused, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert "cannot be read" in refused(files, overrides={"data": str(closed)})


@pytest.mark.parametrize("study", [path.stem for path in sorted((RESOURCES / "studies").glob("*.yaml"))])
def test_the_shipped_studies_are_valid(study: str) -> None:
    assert load({"study": study}, config=CONFIG).study == study


def test_studies_do_not_change(files) -> None:
    with pytest.raises(ValueError, match="frozen"):
        files.load().seed = 3


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("seed: 10", "repeats: yes", "repeats", "must be a number; YAML"),
        (
            "loss: mse",
            "loss: mse\n    members: true",
            "treatments.baseline.members",
            "must be a number; YAML",
        ),
        ("delta: 0.3", "delta: on", "datasets.liris.distribution.delta", "must be a number; YAML"),
        ("seed: 10", "evaluation: {double_rounding: 1}", "evaluation.double_rounding", "must be a valid boolean"),
        ("seed: 10", "evaluation: {double_rounding: 'yes'}", "evaluation.double_rounding", "must be a valid boolean"),
        ("seed: 10", "models: {bi_gru: {units: [-1, 12]}}", "models.bi_gru.units.0", "found -1: must be greater"),
        (
            "seed: 10",
            "models: {bi_gru: {units: [no, 12]}}",
            "models.bi_gru.units.0",
            "must be a number; YAML",
        ),
        ("seed: 10", f"models: {{et: {{layers: {2**63 - 1}}}}}", "models.et.layers", "less than or equal to 64"),
        ("seed: 10", f"models: {{et: {{layers: '{2**70}'}}}}", "models.et.layers", "less than or equal to 64"),
        ("fps: 1.0", "fps: 1e300", "features.frames.options.fps", "less than or equal to 1000"),
        ("low: 0.0", "low: -1e300", "datasets.liris.distribution.low", "must be at least -1"),
        ("files: [a.h5]", "files: [../../etc/passwd]", "features.pool5.files.0", "must stay below its folder"),
        ("files: [a.h5]", "files: [/etc/passwd]", "features.pool5.files.0", "must stay below its folder"),
        ("files: [a.h5]", "files: [~/a.h5]", "features.pool5.files.0", "must stay below its folder"),
        ("files: [a.h5]", 'files: ["a\\0b"]', "features.pool5.files.0", "control characters"),
        ("    folder: liris", "    folder: ../liris", "datasets.liris.folder", "must stay below its folder"),
        ("    folder: liris", f"    folder: {'x' * 300}", "datasets.liris.folder", "name longer than"),
        ("seed: 10", 'data: "a\\nb"', "data", "control characters"),
        ("seed: 10", f"data: {'x' * 300}", "data", "name longer than"),
        ("seed: 10", "results: workflow", "results", "the project's own files"),
        ("seed: 10", "results: x/../workflow/lib", "results", "the project's own files"),
        ("seed: 10", "results: .git", "results", "the project's own files"),
        ("seed: 10", "results: .", "results", "the project's own files"),
        ("seed: 10", "results: config.yaml/x", "results", "the project's own files"),
        ("seed: 10", "results: ..", "results", "holds the project itself"),
        ("seed: 10", "results: /", "results", "folder of the system"),
        ("seed: 10", "results: /etc", "results", "folder of the system"),
        ("seed: 10", "results: /proc/self", "results", "folder of the system"),
        ("seed: 10", 'results: "a\\nb"', "results", "control characters"),
        ("seed: 10", "results: ''", "results", "must name"),
        ("seed: 10", "results: ~nobody-of-this-name/x", "results", "home folder behind `~`"),
        (
            "    folder: liris",
            "    folder: liris\n    models: {et: {d_model: 11}}",
            "datasets.liris.models.et.d_model",
            "found 11: must be a multiple of 2",
        ),
        (
            "    folder: liris",
            "    folder: liris\n    models: {et: {slices.layrs: 2}}",
            "datasets.liris.models.et.slices.layrs",
            "no setting 'layrs'; did you mean 'layers'?",
        ),
        (
            "    folder: liris",
            "    folder: liris\n    models: {ett: {d_model: 8}}",
            "datasets.liris.models.ett",
            "no such model; did you mean 'et'?",
        ),
    ],
)
def test_values_that_were_accepted_though_wrong(files, refused, old: str, new: str, key: str, words: str) -> None:
    message = refused(files.change(old, new))
    assert f"{files.config}:" in message
    assert f": {key}: " in message
    assert words in message


def test_integers_too_long_to_show(files, refused) -> None:
    assert "too long to show" in refused(files, overrides={"repeats": 10**5000})


def test_results_elsewhere(files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/some/home")
    assert files.load(overrides={"results": "~/out"}).results == Path("/some/home/out")
    assert files.load(overrides={"results": "/dev/shm/out"}).results == Path("/dev/shm/out")
    assert files.load(overrides={"results": "../out"}).results == tmp_path.parent / "out"
    assert files.load(overrides={"results": "my results/./x"}).results == Path("my results/x")


def test_the_folders_that_results_may_not_join_are_those_of_the_project() -> None:
    import subprocess

    from utopia.config import places
    from utopia.config.load import REPOSITORY

    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    folders = {line.split("/")[0] for line in listed.splitlines() if "/" in line}
    folders -= {"results"}  # what `make reference` keeps stands where results belong
    assert {name for name in folders if not name.startswith(".")} == set(places.OWN)


def test_every_number_has_bounds_and_is_no_switch() -> None:
    """Whatever setting a component adds: an endless number and a switch are refused where a number is meant."""
    import typing

    from pydantic import TypeAdapter, ValidationError

    from utopia.config.annotations import is_model
    from utopia.config.study import study_model

    numbers, switches = 0, 0
    waiting, seen = [study_model()], set()
    while waiting:
        kind = waiting.pop()
        for inner in typing.get_args(kind):
            waiting.append(inner)
        if not is_model(kind) or kind in seen:
            continue
        seen.add(kind)
        for name, field in kind.model_fields.items():
            waiting.append(field.annotation)
            plain = {str(each) for each in (field.annotation, *typing.get_args(field.annotation))}
            wrong = []
            if plain & {"<class 'int'>", "<class 'float'>"}:
                numbers, wrong = numbers + 1, [True, 2**64, -(2**64), 10**400]
            elif "<class 'bool'>" in plain:
                switches, wrong = switches + 1, [1, 0, "yes", "true"]
            for value in wrong:
                with pytest.raises(ValidationError) as caught:
                    TypeAdapter(kind).validate_python({name: value})
                assert any(error["loc"][:1] == (name,) for error in caught.value.errors()), (kind, name, value)
    assert numbers > 100 and switches > 4
