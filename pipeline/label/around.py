"""What a person sees beside the picks: guesses, and the images that lie around each."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guesses:
    """A class and how probable it is, by key: of the images asked for or labelled, and of the surest others by class.

    `unlike` are groups of images that look like no class with a label: how many they are, and the most typical ones.
    """

    of: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    surest: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    unlike: Sequence[tuple[int, Sequence[str]]] = ()


@dataclass(frozen=True)
class Around:
    """Of the picks, in their order: `beside`, the images nearest to each, and `like`, the picks most like it.

    `known` are the labels of other images that may be shown.
    """

    guesses: Guesses
    beside: Sequence[Sequence[str]]
    like: Sequence[Sequence[tuple[int, float]]]
    known: Mapping[str, str]


# Of these picks by these labels, without a guess of some images, such as those of an audit. The last ones are labels
# that were confirmed many at once.
LookAround = Callable[[Index, Sequence[str], Labels, Collection[str], Collection[str]], Around]


def log_unlike(guesses: Guesses, page: Path) -> None:
    """Logs that the page shows images which look like no class, if it does."""
    if guesses.unlike:
        number, groups = sum(count for count, _ in guesses.unlike), len(guesses.unlike)
        log.info(
            "label: about %d images look like none of the classes, in %d group%s: name them in %s",
            number,
            groups,
            "s" if groups > 1 else "",
            page,
        )
