"""What holds of every recipe in workflow/resources/fetch."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from utopia.config import registry
from utopia.datasets._card import card
from utopia.errors import ConfigError
from utopia.fetch import recipe
from utopia.fetch.obtain import FetchOptions, obtain
from utopia.fetch.recipe import Recipe
from utopia.fetch.record import FetchRecord
from utopia.plan.availability import EMBEDDED

EVERY = [*recipe.names(), recipe.WEIGHTS]


def test_every_data_set_that_can_be_had_somewhere_has_a_recipe() -> None:
    """A card without addresses is of data that nobody gives out; what comes with the project need not be fetched."""
    in_the_box = {path.name for path in EMBEDDED.iterdir()}
    given_out = {name for name in registry.names("datasets") if card(name).urls} - in_the_box
    assert {"liris", "pmemo", "summe", "tvsum"} <= given_out <= set(recipe.names())


@pytest.mark.parametrize("name", EVERY)
def test_it_is_valid_and_says_something(name: str) -> None:
    made = recipe.load(name)
    assert made.files or made.videos or made.agreement


@pytest.mark.parametrize("name", EVERY)
def test_a_digest_stands_once(name: str) -> None:
    """What the card knows of a file is not written down in the recipe again."""
    from utopia.config import layers

    known = recipe.published(name)
    written = layers.read(recipe.RECIPES / f"{name}.yaml").data.get("files", [])
    assert [file["name"] for file in written if file["name"] in known and ("sha256" in file or "bytes" in file)] == []


@pytest.mark.parametrize("name", EVERY)
def test_a_prefix_in_a_name_is_checked(name: str) -> None:
    """torch hub names end in the first digits of the sha256."""
    for file in recipe.load(name).files:
        stem, _, suffix = file.name.rpartition(".")
        tail = stem.rpartition("-")[2]
        if suffix in ("pth", "npz") and len(tail) >= 8 and set(tail) <= set("0123456789abcdef"):
            assert (file.sha256 or file.sha256_prefix or "").startswith(tail), file.name


def test_an_archive_of_two_data_sets_is_the_same_one() -> None:
    by_name = defaultdict(set)
    for name in EVERY:
        for file in recipe.load(name).files:
            if file.extract is not None:
                by_name[file.name].add((tuple(file.urls), file.sha256))
    assert {name: found for name, found in by_name.items() if len(found) > 1} == {}


def test_cards_of_weights_are_all_there_with_their_addresses() -> None:
    cards = {path.stem for path in (recipe.RESOURCES / "weights").glob("*.yaml")}
    known = {file.known_as: file for file in recipe.load(recipe.WEIGHTS).files}
    assert {"googlenet_imagenet", "vggish_audioset"} <= set(known)
    assert len(known) == len(recipe.load(recipe.WEIGHTS).files), "each has a name to ask for it"
    assert cards == set(known) & cards | set(recipe.made_by()), "each is fetched or made"
    assert not set(known) & set(recipe.made_by())


@pytest.mark.parametrize("name", recipe.names())
def test_a_dry_run_writes_and_asks_nothing(name: str, tmp_path: Path) -> None:
    made = recipe.load(name)
    outcomes = obtain(name, made, tmp_path / name, FetchRecord(tmp_path), FetchOptions(dry=True))
    assert list(tmp_path.iterdir()) == []
    assert all(outcome.obtained == 0 and not outcome.failed for outcome in outcomes)
    assert made.agreement or outcomes


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"name": "../x", "role": "shots", "urls": ["https://example.org/x"]}, "pattern"),
        ({"name": "x", "role": "shots", "urls": ["file:///etc/passwd"]}, "pattern"),
        ({"name": "x", "role": "shots", "urls": []}, "at least 1"),
        ({"name": "x", "urls": ["https://example.org/x"]}, "needs a `role`"),
        ({"name": "x", "role": "shots", "urls": ["https://example.org/x"], "into": "../y"}, "below the data set"),
        ({"name": "x.zip", "urls": ["https://example.org/x"], "extract": {"largest": 1}}, "both `extract` and `gives`"),
        ({"name": "x", "role": "shots", "urls": ["https://example.org/x"], "sha255": "0"}, "not permitted"),
    ],
)
def test_faults_are_found(fault: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe.model_validate({"files": [fault]})


def test_an_unknown_one_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"how to fetch 'sume'; did you mean 'summe'"):
        recipe.load("sume")


def test_commands_for_messages() -> None:
    assert recipe.command("summe") == recipe.command("summe", "videos") == "utopia fetch summe"
    assert recipe.command("tvsum", "videos") == "utopia fetch tvsum"
    assert recipe.command("googlenet_imagenet") == "utopia fetch googlenet_imagenet"
    assert recipe.command("liris", "videos") == "utopia fetch liris", "it says what to do"
    assert recipe.command("summe", "information") == recipe.command("no_such") == ""
