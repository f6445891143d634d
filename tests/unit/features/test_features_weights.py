from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from utopia.errors import ChecksumError, ConfigError
from utopia.features import weights
from utopia.fetch.record import FetchRecord


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file `net.pth` and cards `whole` and `prefix` that name it."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    cards = tmp_path / "cards"
    cards.mkdir()
    common = (
        "title: t\naddress: https://example.org/net.pth\nfile: net.pth\nbytes: 7\npinned: p\nlicence: l\ncitation: c\n"
    )
    common += "parameters: names\n"
    (cards / "whole.yaml").write_text(common + f'sha256: "{digest}"\nsha256_prefix: "{digest[:8]}"\n')
    (cards / "prefix.yaml").write_text(common + f'sha256: null\nsha256_prefix: "{digest[:8]}"\n')
    (cards / "wrong.yaml").write_text(common + f'sha256: null\nsha256_prefix: "{digest[:8]}"\nlicense: MIT\n')
    monkeypatch.setattr(weights, "CARDS", cards)
    weights.card.cache_clear()
    (tmp_path / "net.pth").write_bytes(content)
    yield tmp_path
    weights.card.cache_clear()


@pytest.mark.parametrize("name", ["whole", "prefix"])
def test_the_published_file_is_known_by_its_checksum(folder: Path, name: str) -> None:
    found = weights.find(name, folder)
    assert found.path == folder / "net.pth" and found.reason == ""
    assert weights.identify(found) == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("name", ["whole", "prefix"])
def test_another_file_is_refused(folder: Path, name: str) -> None:
    (folder / "net.pth").write_bytes(b"weightz")
    with pytest.raises(
        ChecksumError, match=r"net.pth: its sha256 is .*\n.*\n.*download https://example.org/net.pth again"
    ):
        weights.identify(weights.find(name, folder))


def test_absence_says_where_to_put_the_file(folder: Path) -> None:
    (folder / "net.pth").unlink()
    found = weights.find("whole", folder)
    assert found.path is None
    assert "download https://example.org/net.pth into <data>/weights/" in found.reason and str(folder) in found.reason
    assert "set `data`" in weights.find("whole", None).reason


def test_weights_of_your_own_say_how_they_are_made(folder: Path) -> None:
    text = (folder / "cards" / "prefix.yaml").read_text().rpartition("sha256_prefix")[0] + "sha256_prefix: null\n"
    own = text.replace("address: https://example.org/net.pth", "address: null\nmade_by: make_net <frames>")
    (folder / "cards" / "own.yaml").write_text(own)
    assert weights.find("own", folder / "cards").reason.endswith("make it: make_net <frames>")
    (folder / "weights").mkdir()
    (folder / "net.pth").rename(folder / "weights" / "net.pth")
    found = weights.find("own", folder / "weights")
    with pytest.raises(ChecksumError, match=r"a file of your own") as raised:
        weights.identify(found)
    assert "utopia fetch" not in str(raised.value) and "features.<name>.sha256" in raised.value.remedy
    assert weights.identify(found, pinned=hashlib.sha256(b"weights").hexdigest())
    for wrong in (own.replace("made_by: make_net <frames>\n", ""), text + "made_by: make_net\n"):
        (folder / "cards" / "neither.yaml").write_text(wrong)
        weights.card.cache_clear()
        with pytest.raises(ConfigError, match="exactly one of address and made_by"):
            weights.card("neither")


def test_faults_of_cards(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no card of weights 'wole'.*whole"):
        weights.card("wole")
    with pytest.raises(ConfigError, match=r"wrong.yaml:11: not a valid card: license"):
        weights.card("wrong")


def test_the_cards_of_the_project_are_valid() -> None:
    names = sorted(path.stem for path in weights.CARDS.glob("*.yaml"))
    assert {"googlenet_imagenet", "vggish_audioset"} <= set(names)
    for name in names:
        assert weights.card(name).pinned


@pytest.fixture
def unpublished(folder: Path) -> weights.Found:
    """A file in the data folder's `weights/` of whose checksum nothing is published."""
    text = (folder / "cards" / "prefix.yaml").read_text().rpartition("sha256_prefix")[0]
    (folder / "cards" / "unknown.yaml").write_text(text + "sha256_prefix: null\n")
    (folder / "data" / "weights").mkdir(parents=True)
    (folder / "data" / "weights" / "net.pth").write_bytes(b"weights")
    return weights.find("unknown", folder / "data" / "weights")


DIGEST = hashlib.sha256(b"weights").hexdigest()


def test_a_file_of_which_nothing_is_known_is_refused(unpublished: weights.Found) -> None:
    with pytest.raises(ChecksumError, match=rf"sha256 is {DIGEST}, and nothing says.*\n.*\n.*`utopia fetch unknown`"):
        weights.identify(unpublished)


def test_it_is_trusted_if_it_was_recorded_when_it_was_fetched(unpublished: weights.Found) -> None:
    record = FetchRecord(unpublished.path.parents[1])
    record.add(unpublished.path, url="https://example.org/net.pth", sha256=DIGEST, pinned="first use")
    assert weights.identify(unpublished) == DIGEST
    unpublished.path.write_bytes(b"weightz")
    with pytest.raises(ChecksumError, match=rf"but {DIGEST} was recorded when it was first fetched"):
        weights.identify(unpublished)


def test_fetching_in_place_records_it(unpublished: weights.Found) -> None:
    """What the message says to do helps, and asks no server: the file is there."""
    from utopia.fetch.obtain import FetchOptions, obtain
    from utopia.fetch.recipe import FetchFile, Recipe

    file = FetchFile(name="net.pth", urls=["https://127.0.0.1:9/net.pth"], role="weights", known_as="unknown")
    data = unpublished.path.parents[1]
    outcomes = obtain("weights", Recipe(files=[file]), data / "weights", FetchRecord(data), FetchOptions())
    assert [outcome.obtained for outcome in outcomes] == [1]
    assert weights.identify(unpublished) == DIGEST


def test_it_is_trusted_if_the_study_names_its_checksum(unpublished: weights.Found) -> None:
    assert weights.identify(unpublished, DIGEST) == DIGEST
    with pytest.raises(ChecksumError, match=f"but the study names {'0' * 64}\n"):
        weights.identify(unpublished, "0" * 64)


def test_the_study_cannot_overrule_a_card(folder: Path) -> None:
    (folder / "net.pth").write_bytes(b"weightz")
    with pytest.raises(ChecksumError, match="but the card 'prefix' names"):
        weights.identify(weights.find("prefix", folder), hashlib.sha256(b"weightz").hexdigest())
