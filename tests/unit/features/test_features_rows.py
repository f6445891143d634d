from __future__ import annotations

import numpy as np

from utopia.features import rows
from utopia.features.rows import Batches, FrameRows, SoundRows


class Network:
    """Sums each frame; remembers which frames shared a call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
        self.calls.append(len(frames))
        return np.array([[frame.sum()] for frame in frames], np.float32)


def frames(count: int, first: int = 0) -> list[np.ndarray]:
    return [np.full((1, 1, 3), value, np.uint8) for value in range(first, first + count)]


def test_batches_end_with_the_video() -> None:
    network = Network()
    for count in (5, 3):
        video = FrameRows(Batches(network, 4), shared=False)
        for index, frame in enumerate(frames(count)):
            video.feed(index / 2, frame)
        video.end()
        assert video.complete
        features, times = video.result()
        assert features[:, 0].tolist() == [3 * k for k in range(count)]
        assert times.tolist() == [k / 2 for k in range(count)]
    assert network.calls == [4, 1, 3]


def test_batches_across_videos_are_full_and_rows_go_back_to_their_video() -> None:
    network = Network()
    batches = Batches(network, 4)
    videos = [FrameRows(batches, shared=True) for _ in range(3)]
    for index, frame in enumerate(frames(3)):  # two videos at a time, as several threads give them
        videos[0].feed(index, frame)
        videos[1].feed(index, frame + 10)
    videos[0].end()
    videos[1].end()
    assert not videos[0].complete and network.calls == [4]
    for index, frame in enumerate(frames(2, 100)):
        videos[2].feed(index, frame)
    assert videos[0].complete and videos[1].complete and network.calls == [4, 4]
    videos[2].end()
    batches.flush()
    assert [video.result()[0][:, 0].tolist() for video in videos] == [[0, 3, 6], [30, 33, 36], [300, 303]]


def test_a_picture_that_stays_is_seen_once() -> None:
    network = Network()
    video = FrameRows(Batches(network, 8), shared=False)
    one, two = frames(2)
    for time, frame in enumerate([one, one, one, two, two, one]):
        video.feed(time, frame)
    video.end()
    assert network.calls == [3]
    assert video.result()[0][:, 0].tolist() == [0, 0, 0, 3, 3, 0] and len(video.result()[1]) == 6


def test_a_batch_is_bounded_in_bytes(monkeypatch) -> None:
    monkeypatch.setattr(rows, "BATCH_BYTES", 7)
    network = Network()
    video = FrameRows(Batches(network, 8), shared=False)
    for time, frame in enumerate([*frames(5), np.zeros((2, 2, 3), np.uint8)]):
        video.feed(time, frame)
    video.end()
    assert network.calls == [2, 2, 1, 1] and len(video.result()[0]) == 6


def test_no_samples_are_no_rows() -> None:
    video = FrameRows(Batches(Network(), 8), shared=False)
    video.end()
    features, times = video.result()
    assert video.complete and len(features) == len(times) == 0


def test_a_network_that_must_hear_the_whole_gets_it() -> None:
    heard: list[np.ndarray] = []

    def network(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        heard.append(sound)
        return np.zeros((1, 2)), np.zeros(1)

    sound = SoundRows(network, lambda function, *values: function(*values))
    for piece in (np.ones((2, 3)), np.zeros((2, 4))):
        sound.feed(piece)
    assert not sound.complete
    sound.end()
    assert sound.complete and heard[0].shape == (2, 7) and len(sound.result()[1]) == 1
