"""A download by torchvision, or one line that says why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.base.errors import SourceError


@contextmanager
def downloaded(name: str, root: Path) -> Iterator[None]:
    """A SourceError if torchvision can neither find its files of the data set in `root` nor download them into it."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong checksum a RuntimeError
        reason = " ".join(str(error).split())
        raise SourceError(f"{root}: expected the files of {name}; downloading them failed: {reason}") from error
