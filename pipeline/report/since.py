"""What differs from the last round that was kept: its params, its labels, and which of the same images are right."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.artifacts.model_outputs import OUTPUTS, PREDICTED, TESTED
from pipeline.artifacts.predictions import Predictions, PseudoLabels
from pipeline.artifacts.rounds import round_files
from pipeline.artifacts.settings import FILE
from pipeline.base.files import read_json
from pipeline.evaluate.headline import FEW_ANSWERS
from pipeline.evaluate.paired import Paired
from pipeline.report.rounds import NOW, Round


class Value(NamedTuple):
    """A key of params.yaml, its value in that round, and now, both as they are written there."""

    key: str
    before: str
    now: str


@dataclass(frozen=True)
class Since:
    """What differs from a round; `values` is None where it has kept none, `paired` where no image was measured twice.

    Both models are held against the answers of now, on images that neither was trained on.
    """

    last: Round
    labels: int
    values: Sequence[Value] | None
    paired: Paired | None

    @classmethod
    def find(
        cls,
        folder: Path,
        rounds: Sequence[Round],
        labels: int,
        values: Mapping[str, Any],
        tested: Predictions,
        audit: Mapping[str, str],
        guessed: PseudoLabels | None,
    ) -> "Since | None":
        """From the last round in the `folder` of rounds to this run; None before a round, or where nothing differs."""
        if not rounds:
            return None
        is_new = rounds[-1].name == NOW
        file = round_files(folder)[-1].with_name(FILE)
        changed = _changed(read_json(file), values) if file.is_file() else None
        if not is_new and not changed:
            return None
        outputs = folder / OUTPUTS
        both = (_of_test(outputs / TESTED, tested), _of_audit(outputs / PREDICTED, audit, guessed))
        # As for the headline, a test with answers enough goes before an audit; else the one with more of them.
        paired = max((one for one in both if one), key=lambda one: min(one.n, FEW_ANSWERS), default=None)
        return cls(rounds[-2 if is_new else -1], labels, changed, paired)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Value]:
    """A block that only one of them has in use is told by the name of the method."""
    differ = (key for key, value in now.items() if key in before and before[key] != value)
    return [Value(key, _written(before[key]), _written(now[key])) for key in differ]


def _written(value: Any) -> str:
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_test(file: Path, now: Predictions) -> Paired | None:
    if not file.is_file():
        return None
    before = Predictions.read(file)
    # Other test images, or other answers of theirs, make another test.
    if [*before.keys] != [*now.keys] or before.answers != now.answers or not any(now.answers):
        return None
    rows = zip(now.answers, before.predictions, now.predictions, strict=True)
    return Paired.of("test", [(answer == one, answer == other) for answer, one, other in rows if answer])


def _of_audit(file: Path, audit: Mapping[str, str], guessed: PseudoLabels | None) -> Paired | None:
    if guessed is None or not file.is_file():
        return None
    before = PseudoLabels.read(file)
    was, now = (dict(zip(one.keys, one.ranking.best, strict=True)) for one in (before, guessed))
    right = [(was[key] == name, now[key] == name) for key, name in audit.items() if key in was and key in now]
    return Paired.of("audit", right) if right else None
