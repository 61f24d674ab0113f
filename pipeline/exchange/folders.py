"""A folder for each class. Guesses are folders below `guesses`: what is moved out of there is confirmed."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.class_names import means_no_label
from pipeline.base.errors import SourceError, first_names
from pipeline.exchange.answers import Answer, Asked, Format, Read
from pipeline.ingest.files import look_below
from pipeline.label.marks import MARKS

log = logging.getLogger(__name__)

GUESSES, UNLABELLED = "guesses", "unlabelled"


def place(asked: Asked) -> str:
    return f"{GUESSES}/{asked.guess}/{asked.file}" if _is_folder(asked.guess) else f"{UNLABELLED}/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Makes an empty folder for each known class, where its name can be one, and for each mark."""
    for name in (*classes, *MARKS):
        if _is_folder(name):
            (folder / name).mkdir()
    lost = sorted({one.guess for one in asked if one.guess and not place(one).startswith(GUESSES)})
    if lost:
        log.warning("export_labels: no names of folders, so pictures of them are %s: %s", UNLABELLED, first_names(lost))


def _is_folder(name: str) -> bool:
    return bool(name) and name == Path(name).name and not name.startswith(".") and name not in (GUESSES, UNLABELLED)


def read(path: Path) -> Read:
    """Reads the names of folders and files; the pictures themselves are not looked at."""
    found = look_below(path)
    result = Read()
    for image, (*above, _) in found.images.items():
        if above[:1] == [GUESSES]:
            result.guesses += 1
        elif len(above) > 1:
            raise SourceError(f"{image.parent}: expected folders of classes side by side, got one below another")
        elif above and not means_no_label(above[0]):
            result.answers.append(Answer([image.name], above))
    return result


FORMAT = Format(place, write, read)
