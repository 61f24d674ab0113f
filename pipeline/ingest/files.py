"""The files of a source: found below a person's folder and sorted by kind, or downloaded.

Folders are read in sorted order. Links are followed, but never round a loop. This is the one place that knows which
files are no images: those of an operating system, and those of other kinds by the ends of their names. What is left
counts as an image, whatever it is called.
"""

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from pipeline.base.errors import SourceError, first_names

log = logging.getLogger(__name__)

KINDS = {  # the ends of names, each of the kind that the log counts it as
    "tables": ("csv", "tsv", "xls", "xlsx", "ods", "parquet", "feather", "arff"),
    "archives": ("tar", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar"),
    "videos": ("mp4", "mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "3gp", "wmv", "flv"),
    "sounds": ("mp3", "wav", "m4a", "ogg", "flac", "aac"),
    "texts": ("txt", "md", "rst", "pdf", "doc", "docx", "odt", "rtf", "htm", "html", "log", "py", "ipynb", "lnk"),
    "sidecars": ("xmp", "json", "jsonl", "xml", "yaml", "yml", "toml", "aae", "thm", "pp3", "dop", "ini", "cfg", "db"),
    "arrays": ("npy", "npz", "mat", "pkl", "pickle", "h5", "hdf5", "pt", "pth"),
}  # fmt: skip
SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
          "system volume information", "lost+found")  # fmt: skip
HIDDEN = "hidden and system files"
BY_NAME = ("tables", "archives", HIDDEN)  # kinds of which a person wants to know which they are; of others the ends do
ENDS = {end: kind for kind, ends in KINDS.items() for end in ends}


@dataclass
class Found:
    """What lies below a folder: images, and by kind the files that are none."""

    images: dict[Path, tuple[str, ...]] = field(default_factory=dict)  # with their parts below the folder
    others: dict[str, list[Path]] = field(default_factory=dict)
    empty: list[Path] = field(default_factory=list)  # folders without an image at any depth

    def say_passed_over(self, folder: Path, used: Collection[Path] = ()) -> None:
        """Counts in one line what is neither an image nor one of the `used` files."""
        counts = []
        for kind, paths in self.others.items():
            left = [path for path in paths if path not in used]
            names = {path.suffix.lower() for path in left}
            if kind in BY_NAME:
                names = {path.relative_to(folder).as_posix() for path in left}
            if left:
                counts.append(f"{kind} ({len(left)}: {first_names(sorted(names), 5)})")
        if counts:
            hint = "; a table of answers is called answers.csv" if set(self.others.get("tables", ())) - {*used} else ""
            log.info("ingest: passed over in %s, as they are no images: %s%s", folder, ", ".join(counts), hint)


def images_in(folder: Path) -> list[Path]:
    """Images and folders that lie in a folder, sorted by name; refuses a folder that is not there."""
    names = (entry.name for entry in _inside(folder))
    return [folder / name for name in names if not _of_the_system(name) and _kind(name) is None]


def look_below(folder: Path) -> Found:
    """All files at any depth; a link to a folder that contains it, and a link that may be to a folder, is refused."""
    found = Found()
    _collect(folder, (), found, ())
    return found


def _collect(folder: Path, parts: tuple[str, ...], found: Found, above: tuple[Path, ...]) -> None:
    real = folder.resolve()
    if real in above:
        raise SourceError(f"{folder}: expected a folder, got a link to a folder that contains it")
    before = len(found.images)
    for entry in _inside(folder):
        name, path, link = entry.name, folder / entry.name, entry.is_symlink()
        if _of_the_system(name):
            found.others.setdefault(HIDDEN, []).append(path)
        elif path.is_dir() if link else entry.is_dir():
            _collect(path, (*parts, name), found, (*above, real))
        elif (kind := _kind(name)) is not None:
            found.others.setdefault(kind, []).append(path)
        elif link and not path.suffix and not path.exists():
            raise SourceError(
                f"{path}: expected a folder or an image, got a link to {path.readlink()}, which is not there"
            )
        else:
            found.images[path] = (*parts, name)
    if len(found.images) == before:
        found.empty.append(folder)


def _inside(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        state = "a file" if folder.exists() else "none"
        if folder.is_symlink() and not folder.exists():
            state = f"a link to {folder.readlink()}, which is not there"
        raise SourceError(f"{folder}: expected a folder, found {state}")
    with os.scandir(folder) as entries:
        return sorted(entries, key=attrgetter("name"))


def _kind(name: str) -> str | None:
    stem, _, end = name.rpartition(".")
    return ENDS.get(end.lower()) if stem else None


def _of_the_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


@contextmanager
def downloaded(name: str, root: Path) -> Iterator[None]:
    """A SourceError if torchvision can neither find its files of the data set in `root` nor download them into it."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong checksum a RuntimeError
        reason = " ".join(str(error).split())
        raise SourceError(f"{root}: expected the files of {name}; downloading them failed: {reason}") from error
