"""Values by step, where those of the next steps are prepared ahead."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ByStep(Generic[T]):
    """The value of any step, from a function that gives the values from a step on.

    A step that is not the next one is as right, but waited for.
    """

    def __init__(self, values_from: Callable[[int], Iterator[T]]) -> None:
        self._values_from = values_from
        self._next = -1
        self._values: Iterator[T] = iter(())

    def __call__(self, step: int) -> T:
        if step != self._next:
            self._values = self._values_from(step)  # drops the old iterator, which cancels its work
        self._next = -1  # after an error the iterator is of no use
        value = next(self._values)
        self._next = step + 1
        return value
