"""Which images are predicted otherwise than in the last round that was kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.artifacts.predictions import PseudoLabels

SHOWN = 24  # pictures on the page, at most


@dataclass(frozen=True)
class Change:
    """An image, its predicted class in that round and now, and how probable the latter is."""

    key: str
    before: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Changes:
    """The changes, the most confident first, among `compared` images that had no label then and have none now."""

    compared: int
    found: Sequence[Change]

    @classmethod
    def between(cls, before: PseudoLabels, now: PseudoLabels) -> "Changes":
        was = dict(zip(before.keys, before.ranking.best, strict=True))
        rows = zip(now.keys, now.ranking.best, now.ranking.confidence.tolist(), strict=True)
        both = [Change(key, was[key], name, share) for key, name, share in rows if name and was.get(key)]
        changed = (one for one in both if one.prediction != one.before)
        return cls(len(both), sorted(changed, key=lambda one: (-one.confidence, one.key)))
