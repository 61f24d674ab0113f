"""FiftyOne's image classification dataset: pictures in `data`, and `labels.json` with a target for each.

A label with a confidence is a model's, and no answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import SourceError
from pipeline.base.files import write_json
from pipeline.exchange.answers import Answer, Asked, Format, Read, unconfirmed
from pipeline.exchange.json_file import field, load, want

LABELS = "labels.json"


def place(asked: Asked) -> str:
    return f"data/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Writes `labels.json`: of each picture, by its name without the end, the guess, or nothing."""
    labels = {
        Path(one.file).stem: {"label": one.guess, "confidence": one.confidence} if one.guess else None for one in asked
    }
    write_json(folder / LABELS, {"classes": None, "labels": labels})


def read(path: Path) -> Read:
    """Reads `labels.json`, or the folder that holds it."""
    file = path / LABELS if path.is_dir() else path
    tree = want(load(file), dict, str(file))
    names = tree.get("classes")
    known = [] if names is None else want(names, list, f"{file}: classes")
    result = Read()
    for image, target in field(tree, "labels", dict, str(file)).items():
        where = f"{file}: {image}"
        classes = list[str]()
        for one in target if isinstance(target, list) else [] if target is None else [target]:
            guess = isinstance(one, dict) and unconfirmed(one)
            result.guesses += guess
            if not guess:
                classes.append(_name(one.get("label") if isinstance(one, dict) else one, known, where))
        if classes:
            result.answers.append(Answer([image], classes))
    return result


def _name(label: Any, known: Sequence[Any], where: str) -> str:
    """A label's name: itself, or that of this number among the classes."""
    if isinstance(label, int) and not isinstance(label, bool):
        if not 0 <= label < len(known):
            raise SourceError(f"{where}: expected one of the {len(known)} classes, got the number {label}")
        label = known[label]
    return want(label, str, where)


FORMAT = Format(place, write, read)
