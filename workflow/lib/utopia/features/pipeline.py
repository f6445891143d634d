"""Decoding beside the networks: producers in threads, one consumer, and a bound on what waits between them.

Threads suffice, because decoding, resampling and networks all let go of Python's lock while they work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def merged(
    producers: Sequence[Callable[[], Iterable[T]]], *, threads: int, weigh: Callable[[T], int], limit: int
) -> Generator[T, None, None]:
    """All that some producers give: of each in its order, of several at work as it comes.

    Args:
        producers: begun in this order, and at most `threads` of them at work at a time.
        threads: 0: no threads; one producer after the other, each product when it is asked for.
        weigh: bytes of a product.
        limit: most bytes that wait to be consumed; one product may wait whatever it weighs.

    Raises:
        BaseException: what a producer raised, after what it gave before; the others stop at their next product.
    """
    if threads < 1:
        for producer in producers:
            yield from producer()
        return
    channel: _Channel[T] = _Channel(weigh, limit)
    waiting = deque(producers)
    workers = [
        threading.Thread(target=_work, args=(waiting, channel), name=f"decode-{index}", daemon=True)
        for index in range(min(threads, len(producers)))
    ]
    channel.producing = len(workers)
    for worker in workers:
        worker.start()
    try:
        yield from channel
    finally:
        channel.close()
        for worker in workers:
            worker.join()


class _Channel(Generic[T]):
    """A queue of bounded weight."""

    def __init__(self, weigh: Callable[[T], int], limit: int) -> None:
        self.producing = 0
        self._weigh, self._limit = weigh, limit
        self._products: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._closed = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, product: T) -> bool:
        """Wait for room and add a product; False: nobody wants any more."""
        weight = self._weigh(product)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._products or self._weight + weight <= self._limit)
            if self._closed:
                return False
            self._products.append((product, weight))
            self._weight += weight
            self._changed.notify_all()
            return True

    def finish(self, failure: BaseException | None) -> None:
        """A worker has no more to give, or has failed."""
        with self._changed:
            self.producing -= 1
            self._failure = self._failure or failure
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._closed = True
            self._products.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._products or self._failure or not self.producing)
                if not self._products:
                    if self._failure is not None:
                        raise self._failure
                    return
                product, weight = self._products.popleft()
                self._weight -= weight
                self._changed.notify_all()
            yield product


def _work(waiting: deque[Callable[[], Iterable[T]]], channel: _Channel[T]) -> None:
    failure: BaseException | None = None
    try:
        while waiting:
            try:
                producer = waiting.popleft()
            except IndexError:  # another thread was faster
                break
            for product in producer():
                if not channel.put(product):
                    return
    except BaseException as error:
        failure = error
    finally:
        channel.finish(failure)
