"""studyforrest: observers' events as labels, the copy in the box, features made of the official tables."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia.config.load import load
from utopia.datasets import _card, studyforrest
from utopia.datasets._common import Limits
from utopia.datasets.studyforrest import Config, Event, state
from utopia.errors import InputError
from utopia.plan.availability import EMBEDDED, survey

FOLDER = EMBEDDED / "studyforrest"
LIMITS = Limits(-1.0, 1.0)


def event(start: float, end: float, valence: float, arousal: float) -> Event:
    return Event(start, end, {"valence": valence, "arousal": arousal})


def test_an_observers_state_by_hand() -> None:
    # seconds 10 to 15: nothing; one event from 11 up to 14; another from 12.5, that is from second 13, to 15
    events = [event(11, 14, 1.0, -1.0), event(12.5, 15, -1.0, -1.0), event(0, 10, 1.0, 1.0)]
    assert state(events, "valence", 10, 16).tolist() == [0, 1, 1, 0, -1, 0]
    assert state(events, "arousal", 10, 16).tolist() == [0, -1, -1, -1, -1, 0]
    # an event that lies over the end of a segment goes on in the next one
    assert state(events, "valence", 13, 14).tolist() == [0] and state(events, "valence", 14, 15).tolist() == [-1]


def test_the_copy_in_the_box_is_the_one_on_the_card() -> None:
    for file in _card.card("studyforrest").files:
        content = (FOLDER / file.name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.bytes), file.name
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6


def test_every_second_of_the_film_is_in_one_segment() -> None:
    located = studyforrest.locate(FOLDER, Config())
    read = [studyforrest.read_labels(located, item, Config(), LIMITS) for item in studyforrest.items(located, Config())]
    assert sum(len(item.times) for item in read) == studyforrest.END
    for item in read:
        assert item.votes["valence"].shape == (9, len(item.times)) and not item.notes
        for target in studyforrest.TARGETS:
            assert item.votes[target].mean(axis=0) == pytest.approx(item.labels[target])
            assert np.abs(item.labels[target]).max() <= 1 and np.ptp(item.labels[target]) > 0.5
    folds = studyforrest.folds(located, [item.id for item in read], Config())
    assert [fold["test"] for fold in folds] == [[item.id] for item in read]


def test_labels_of_few_observers_are_judged_by_those_of_all() -> None:
    located, options = studyforrest.locate(FOLDER, Config()), Config(label_annotators=3)
    item = studyforrest.items(located, options)[2]
    few, all_ = (studyforrest.read_labels(located, item, chosen, LIMITS) for chosen in (options, Config()))
    assert len(few.annotators) == 3
    assert few.labels["arousal"] == pytest.approx(few.votes["arousal"][list(few.annotators)].mean(axis=0))
    assert few.evaluation["arousal"] == pytest.approx(all_.labels["arousal"])


def test_labels_of_few_observers_are_judged_by_the_others_where_that_is_chosen() -> None:
    located, options = studyforrest.locate(FOLDER, Config()), Config(label_annotators=3, judges="others")
    item = studyforrest.items(located, options)[2]
    few = studyforrest.read_labels(located, item, options, LIMITS)
    others = [number for number in range(9) if number not in few.annotators]
    assert len(others) == 6
    assert few.evaluation["arousal"] == pytest.approx(few.votes["arousal"][others].mean(axis=0))
    nobody = studyforrest.read_labels(located, item, Config(label_annotators=9, judges="others"), LIMITS)
    assert nobody.evaluation["arousal"] == pytest.approx(nobody.labels["arousal"])  # none is left: all judge


def test_a_missing_observer_is_noted(tmp_path: Path) -> None:
    for number in (1, 4):
        (tmp_path / f"av1o{number:02d}.csv").write_bytes((FOLDER / f"av1o{number:02d}.csv").read_bytes())
    located = studyforrest.locate(tmp_path, Config())
    labels = studyforrest.read_labels(located, studyforrest.items(located, Config())[0], Config(), LIMITS)
    assert labels.votes["valence"].shape[0] == 2 and labels.notes == ["2 of 9 observers"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("start,end,arousal\n1,2,LOW\n", "lacks valence"),
        ("start,end,arousal,valence\n1,2,LOW,POS\n5,4,LOW,POS\n", "not an event: start '5', end '4'"),
        ("start,end,arousal,valence\n1,2,LOW,GOOD\n", "valence 'GOOD'"),
        ("start,end,arousal,valence\nnan,2,LOW,POS\n", "not an event"),
        ("start,end,arousal,valence\n1,inf,LOW,POS\n", "not an event"),
        ("start,end,arousal,valence\n1,2\n", "not an event"),
        ("start,end,arousal,valence\n", "no events"),
        ("\x00\xff", "lacks start"),
    ],
)
def test_what_is_no_table_of_events_is_refused_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "av1o01.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=told) as refused:
        studyforrest.read_events(path)
    assert str(path) in str(refused.value)


def test_it_needs_no_data_folder_and_gives_way_to_the_users_own(tmp_path: Path) -> None:
    there = survey(load(overrides={"study": "open"}), "studyforrest")
    assert there.available and there.folder == FOLDER and there.features == ("studyforrest_confounds",)
    assert survey(load(overrides={"study": "open", "data": str(tmp_path)}), "studyforrest").folder == FOLDER
    own = tmp_path / "studyforrest"
    own.mkdir()
    assert survey(load(overrides={"study": "open", "data": str(tmp_path)}), "studyforrest").reason
    (own / "av1o01.csv").write_bytes((FOLDER / "av1o01.csv").read_bytes())
    assert survey(load(overrides={"study": "open", "data": str(tmp_path)}), "studyforrest").folder == own


class TestAgainstTheOfficialFiles:
    def test_who_has_them_needs_no_more(self, shared_data: Path) -> None:
        there = survey(load(overrides={"study": "open", "data": str(shared_data)}), "studyforrest")
        assert there.available and there.folder == shared_data / "studyforrest"
        assert there.precomputed == {"studyforrest_confounds": FOLDER / "confounds_1hz.csv"}
        located = studyforrest.locate(there.folder, Config())
        assert len(located.files["annotations"]) == studyforrest.OBSERVERS

    def test_the_features_in_the_box_are_made_of_them(self, shared_data: Path) -> None:
        lines = studyforrest.confounds(shared_data / "studyforrest" / "segments" / "avmovie")
        assert (FOLDER / "confounds_1hz.csv").read_text(encoding="utf-8").splitlines() == lines

    def test_labels_and_features_are_those_of_another_implementation(self, shared_data: Path) -> None:
        located = studyforrest.locate(FOLDER, Config())
        table = np.genfromtxt(FOLDER / "confounds_1hz.csv", delimiter=",", skip_header=1, dtype=None, encoding="utf-8")
        ours = {name: np.array([list(row)[2:] for row in table if row[0] == name]) for name in set(table["f0"])}
        with h5py.File(shared_data / "studyforrest" / "studyforrest_portrayed_emotions.h5") as file:
            for number, item in enumerate(studyforrest.items(located, Config()), start=1):
                labels, theirs = studyforrest.read_labels(located, item, Config(), LIMITS), file[f"run_{number}"]
                seconds = len(labels.times)
                for target in studyforrest.TARGETS:
                    np.testing.assert_allclose(labels.votes[target], theirs[target][:, :seconds], rtol=0, atol=1e-6)
                np.testing.assert_allclose(ours[item.id], theirs["features"][:seconds], rtol=2e-5, atol=1e-9)
