from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.features.pipeline import merged


def producers(*lengths: int) -> list:
    return [lambda n=n, k=k: ((k, i) for i in range(n)) for k, n in enumerate(lengths)]


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(0, 20), max_size=6), threads=st.integers(0, 4), limit=st.integers(0, 5))
def test_everything_comes_once_and_each_in_its_order(lengths: list[int], threads: int, limit: int) -> None:
    found = list(merged(producers(*lengths), threads=threads, weigh=lambda _: 1, limit=limit))
    assert sorted(found) == [(k, i) for k, n in enumerate(lengths) for i in range(n)]
    for k in range(len(lengths)):
        assert [i for j, i in found if j == k] == sorted(i for j, i in found if j == k)
    if threads <= 1:
        assert found == sorted(found)


@pytest.mark.parametrize(("threads", "limit", "most"), [(1, 30, 3), (3, 30, 3), (2, 5, 1)])
def test_what_waits_is_bounded(threads: int, limit: int, most: int) -> None:
    """Each product weighs 10; a worker may hold one more that has no room yet."""
    lock, alive, peak = threading.Lock(), 0, 0

    def produce() -> Iterator[int]:
        nonlocal alive, peak
        for index in range(20):
            with lock:
                alive += 1
                peak = max(peak, alive)
            yield index

    for _ in merged([produce] * 3, threads=threads, weigh=lambda _: 10, limit=limit):
        with lock:
            alive -= 1
        time.sleep(0.002)
    assert peak <= most + threads + 1


def test_a_failure_reaches_the_consumer_and_stops_the_others() -> None:
    stopped = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            stopped.set()

    def failing() -> Iterator[int]:
        yield 2
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        for product in merged([failing, endless], threads=2, weigh=lambda _: 1, limit=4):
            assert product in (1, 2)
            if threading.active_count() == before:
                pytest.fail("nothing runs beside the consumer")
    assert stopped.wait(5)


def test_a_consumer_that_leaves_stops_the_producers() -> None:
    before = threading.active_count()
    stream = merged(producers(10_000, 10_000), threads=2, weigh=lambda _: 1, limit=4)
    next(stream)
    stream.close()
    assert threading.active_count() == before
