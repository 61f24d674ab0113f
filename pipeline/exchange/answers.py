"""What passes between the chain and a tool: images that are asked for, and what people answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIRMED = "confirmed"  # an attribute of a label, which a guess has not set


@dataclass(frozen=True)
class Asked:
    """An image that a label is asked for. A guess is for a person to confirm; an import never counts it by itself."""

    key: str
    path: str
    picture: str  # digest of what was brought, "" where it is not known
    end: str  # of a name of the picture's file, such as png
    size: tuple[int, int]  # height and width in pixels
    guess: str = ""
    confidence: float = 0.0  # in [0, 1]

    @property
    def file(self) -> str:
        """The picture's file in every export: by this name a label finds its image and picture again."""
        return f"{'-'.join(filter(None, (self.key, self.picture)))}.{self.end}"


@dataclass(frozen=True)
class Answer:
    """What one person said of one image. A mark, such as [skip], stands where a class does."""

    image: Sequence[str]  # what the tool calls it: key, path, name of a file or URL; the first that is known counts
    classes: Sequence[str]
    by: str = ""  # "" where the tool does not say
    picture: str = ""


def unconfirmed(label: Mapping[str, Any]) -> bool:
    """Whether a label in JSON is a model's: it says how sure it is, or that nobody confirmed it."""
    attributes = label.get("attributes")
    sure = [label.get(name) for name in ("confidence", "score")]
    return any(value is not None for value in sure) or (
        isinstance(attributes, dict) and attributes.get(CONFIRMED) is False
    )


@dataclass
class Read:
    """All that a tool's file says."""

    answers: list[Answer] = field(default_factory=list)
    guesses: int = 0  # labels that nobody confirmed


@dataclass(frozen=True)
class Format:
    """A tool's format. Each reader raises SourceError, in one line, for what it cannot take."""

    place: Callable[[Asked], str]  # where the picture lies in the folder of an export
    write: Callable[[Path, Sequence[Asked], Sequence[str]], None]  # all but the pictures; the last are known classes
    read: Callable[[Path], Read]
