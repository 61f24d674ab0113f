"""Images that are there twice: a word where that makes a figure too good or a label wrong."""

import logging
from collections.abc import Mapping

from pipeline.base.errors import first_names
from pipeline.ingest.source import Item

log = logging.getLogger(__name__)


def say_copies(listed: Mapping[str, Item], splits: Mapping[str, str], pictures: Mapping[str, str]) -> None:
    """Warns of images to test that are copies of images to train, and of copies with different answers."""
    by_picture: dict[str, list[str]] = {}
    for key in splits:
        by_picture.setdefault(pictures[key], []).append(key)
    copies = [keys for keys in by_picture.values() if len(keys) > 1]
    tested = [key for keys in copies if len({splits[key] for key in keys}) > 1 for key in keys if splits[key] == "test"]
    if tested:
        names = first_names([listed[key].path for key in tested], 3)
        log.warning("ingest: %d images to test have the same content as images to train: %s", len(tested), names)
    answers = [{listed[key].answer: listed[key].path for key in keys if listed[key].answer} for keys in copies]
    unlike = [first_names([*paths.values()], 3) for paths in answers if len(paths) > 1]
    if unlike:
        log.warning(
            "ingest: %d images are there with the same content and different classes: %s", len(unlike), unlike[0]
        )
