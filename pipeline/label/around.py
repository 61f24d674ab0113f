"""What a person sees beside the picks: guesses, and the images that lie around each."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index


@dataclass(frozen=True)
class Guesses:
    """A class and how probable it is, by key: of the images asked for, and of the surest others, class by class."""

    of: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    surest: Mapping[str, tuple[str, float]] = field(default_factory=dict)


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
