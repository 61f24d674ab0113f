"""Labels belong to pictures: one that was replaced under its name loses its label, one that was renamed keeps it.

A row of a person's file may say of which picture it is, as the rows that the page saves do. Of others `pictures.csv`
beside the file notes it, when they are read for the first time.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.labels import Sources
from pipeline.artifacts.shards import Index
from pipeline.base.errors import first_names
from pipeline.base.files import read_csv, write_csv

log = logging.getLogger(__name__)

NOTES = "pictures.csv"


def keys_now(
    file: Path, keys: Sequence[str], labels: Sequence[str], said: Sequence[str], index: Index, sources: Sources
) -> list[str | None]:
    """For each row of `file` the key of the training image that it labels now.

    None: its picture is not there any more, or is held out for the test, as may be since the first answers came.
    `said` are the pictures in the rows, "" where a row has none; `labels` are the finest ones, "" for no label. A row
    with another label than was noted is a new one, of the picture that has the key now.
    """
    found = _followed(file, keys, labels, said, index, sources) if sources.picture else list(keys)
    train = {*index.key}
    held_out = {key for key in found if key in sources.path and key not in train}
    count = sum(key in held_out and bool(label) for key, label in zip(found, labels, strict=True))
    if count:
        log.warning("label: %d labels in %s are of images held out for the test, and are not used", count, file)
    return [None if key in held_out else key for key in found]


def _followed(
    file: Path, keys: Sequence[str], labels: Sequence[str], said: Sequence[str], index: Index, sources: Sources
) -> list[str | None]:
    """The keys that the pictures of these rows have now."""
    notes = file.with_name(NOTES)
    pairs = [*zip(keys, labels, strict=True)]
    pictures = meant(file, keys, labels, said, sources)
    result = places(keys, pictures, index.key, sources)
    lost = [key for (key, label), new in zip(pairs, result, strict=True) if label and new is None]
    kept = [key for (key, label), new in zip(pairs, result, strict=True) if label and new not in (None, key)]
    if lost:
        log.warning(
            "label: %d labels in %s are not used, as their pictures were replaced or are gone: %s; label the new ones, "
            "or delete %s if the labels are of these",
            *(len(lost), file, first_names([sources.path.get(key, key) for key in lost]), notes),
        )
    if kept:
        log.info("label: %d labels in %s follow their pictures, which have other names now", len(kept), file)
    rows = sorted(
        {(key, picture, label) for (key, label), picture in zip(pairs, pictures, strict=True) if label and picture}
    )
    if rows != sorted(_read(notes)):
        write_csv(notes, ("key", "picture", "label"), rows)
    return result


def meant(file: Path, keys: Sequence[str], labels: Sequence[str], said: Sequence[str], sources: Sources) -> list[str]:
    """For each row of `file` the picture that it labels: what it says itself, what was noted, or that of its key."""
    noted = {(key, label): picture for key, picture, label in _read(file.with_name(NOTES))}
    rows = zip(said, keys, labels, strict=True)
    return [own or noted.get((key, label), "") or sources.picture.get(key, "") for own, key, label in rows]


def places(keys: Sequence[str], pictures: Sequence[str], train: Sequence[str], sources: Sources) -> list[str | None]:
    """The keys that these pictures, which had `keys`, have now among those of `train`; None for those that are gone."""
    now = [sources.picture.get(key, "") for key in keys]
    if now == [*pictures] or not sources.picture:
        return [*keys]
    place = {sources.picture.get(key, ""): key for key in train}
    return [
        key if picture == new else place.get(picture) for key, picture, new in zip(keys, pictures, now, strict=True)
    ]


def _read(notes: Path) -> list[tuple[str, str, str]]:
    if not notes.is_file():
        return []
    return [(key, picture, label) for key, picture, label in read_csv(notes, ("key", "picture", "label"))[1]]
