"""Work on every item, with a limit on the images that it cannot be done on."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

from pipeline.data.images import BadImage
from pipeline.data.threads import map_in_order
from pipeline.errors import SourceError
from pipeline.sources.source import Item

log = logging.getLogger(__name__)

R = TypeVar("R")


class Bad:
    """The images that are left out, each with its reason; more than `allowed` are a SourceError."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.rows: list[dict[str, str]] = []

    def add(self, path: str, reason: str) -> None:
        """Notes one more."""
        log.info("ingest: left out %s: %s", path, reason)
        self.rows.append({"path": path, "reason": reason})
        if len(self.rows) > self.allowed:
            first = self.rows[0]
            raise SourceError(
                f"{first['path']}: expected an image, but {first['reason']}; "
                f"{len(self.rows)} such images so far, and ingest.max_bad allows {self.allowed}"
            )


def each(work: Callable[[Item], R], items: Mapping[str, Item], bad: Bad, label: str) -> Iterator[tuple[str, R]]:
    """(key, the work's result), in order and in threads; images on which it raises BadImage go to `bad`."""

    def attempt(item: Item) -> R | BadImage:
        try:
            return work(item)
        except BadImage as error:
            return error

    done = zip(items.items(), map_in_order(attempt, items.values()), strict=True)
    for (key, item), result in tqdm(done, total=len(items), desc=label, disable=None, unit=" images"):
        if isinstance(result, BadImage):
            bad.add(item.path, str(result))
        else:
            yield key, result
