"""A walk through folders that a person made: sorted, through links but never round a loop, hidden names passed over."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.base.errors import SourceError

log = logging.getLogger(__name__)

SPLITS = ("train", "test", "val")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden names; refuses a folder that is not there."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: expected a folder, found {'a file' if folder.exists() else 'none'}")
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files at any depth; a link to a folder that contains it is refused by name."""
    real = folder.resolve()
    if real in above:
        raise SourceError(f"{folder}: expected a folder, got a link to a folder that contains it")
    for path in entries(folder):
        if path.is_dir():
            yield from files_below(path, (*above, real))
        else:
            yield path


def split_in(name: str) -> str | None:
    """The split that a folder's name says, in capitals or not; None for another name."""
    return name.lower() if name.lower() in SPLITS else None


def settle_splits(said: Mapping[str, str | None], where: str) -> dict[str, str | None]:
    """From what names say, train, test, val or nothing, the split of each name; all None where all say the same.

    `val` serves as the test split where there is none of that name, and is "unused" beside one. Raises SourceError
    where some names say a split and others none, and for a test split without one to train.
    """
    if len(set(said.values())) <= 1:
        return dict.fromkeys(said)
    named = {split for split in said.values() if split}
    if "train" not in named or len(named) < 2:
        name = next(name for name, split in said.items() if split)
        partner = "test or val" if "train" in named else "train"
        raise SourceError(
            f"{name}: expected {partner} beside it, as for a split, found none; a class needs another name"
        )
    for name, split in said.items():
        if split is None:
            raise SourceError(f"{name}: expected train, test or val, as other {where} say, got neither")
    if named == set(SPLITS):
        log.info("ingest: val is left out, as there is a test split")
        return {name: "unused" if split == "val" else split for name, split in said.items()}
    return {name: "train" if split == "train" else "test" for name, split in said.items()}
