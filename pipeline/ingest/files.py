"""The files of a source: found below a person's folder, or downloaded.

Folders are read in sorted order. Links are followed, but never round a loop; hidden names are passed over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.base.errors import SourceError


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


@contextmanager
def downloaded(name: str, root: Path) -> Iterator[None]:
    """A SourceError if torchvision can neither find its files of the data set in `root` nor download them into it."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong checksum a RuntimeError
        reason = " ".join(str(error).split())
        raise SourceError(f"{root}: expected the files of {name}; downloading them failed: {reason}") from error
