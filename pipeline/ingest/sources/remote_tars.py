"""WebDataset tars behind URLs: each is fetched once, into the cache, and indexed there.

All facts of its images are read at once: the tar may have left the cache before ingest ends.
"""

import math
import os
import posixpath
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pipeline.artifacts.shards import Shard, scheme
from pipeline.base.errors import SourceError
from pipeline.base.machine import Reading
from pipeline.ingest.progress import Progress
from pipeline.ingest.source import Item, Listing, Source, Span
from pipeline.ingest.sources.shards import BY_NAME, facts_of, read_tar, splits_of_tars
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import Facts
from pipeline.shards.remote.cache import Cache

MOST = 1_000_000  # tars that braces may name


class RemoteTars(Source):
    """Tars by their URLs, a range of numbers in braces: `https://host/train-{000000..000099}.tar`, one or several."""

    path: str | tuple[str, ...]
    look: Literal["decode", "header"]
    reading: Reading

    def listing(self) -> Listing:
        """Images and answers by the names and label members in the tars, named as in a folder that holds them."""
        urls = [url for one in ([self.path] if isinstance(self.path, str) else self.path) for url in expanded(one)]
        names = _names(urls)
        splits = splits_of_tars({url: Path(name) for url, name in names.items()})
        items, tars = list[Item](), dict[Path, Shard]()
        with Progress("ingest: fetching", None, "MB") as progress:
            for url in urls:
                inside, tars[Path(names[url])] = self._indexed(url, names[url], splits.get(url), progress)
                items += inside
        return Listing(("label",), items, tars=tars, splits_from=BY_NAME)

    def _indexed(self, url: str, name: str, split: str | None, progress: Progress) -> tuple[list[Item], Shard]:
        handle, size, digest = Cache(self.reading).add(url, threading.Event())
        try:
            file = Path(f"/dev/fd/{handle}")  # still there should the file leave the cache
            try:
                items = read_tar(file, name, split, lambda _: "", progress)[1]
            except SourceError as error:
                raise SourceError(str(error).replace(str(file), url)) from error
            spans = [item.image for item in items if isinstance(item.image, Span)]
            facts = map_in_order(lambda span: self._facts(handle, span), spans)
            spans = [replace(span, tar=Path(name), facts=one) for span, one in zip(spans, facts, strict=True)]
            items = [replace(item, image=span) for item, span in zip(items, spans, strict=True)]
            return items, Shard(url, size, digest, len(items))
        finally:
            os.close(handle)

    def _facts(self, handle: int, span: Span) -> Facts | str:
        return facts_of(os.pread(handle, span.size, span.offset), whole=self.look == "decode")


def expanded(url: str) -> list[str]:
    """The URLs that ranges of numbers in braces make of one: of as many digits as the first has. Raises SourceError."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", url)
    ranges = []
    for first, last in zip(parts[1::3], parts[2::3], strict=True):
        numbers = range(int(first), int(last) + 1)
        if not 0 < len(numbers) <= MOST:
            raise SourceError(f"{url}: expected a range that rises, of {MOST:,} at most, got {first}..{last}")
        ranges.append([f"{number:0{len(first)}d}" for number in numbers])
    if math.prod(map(len, ranges)) > MOST:
        raise SourceError(f"{url}: expected {MOST:,} tars at most, got {math.prod(map(len, ranges)):,}")
    if re.search("[{}*]", "".join(parts[0::3])):
        raise SourceError(
            f"{url}: expected braces with a range of numbers, {{000..099}}, got others: nothing is listed"
        )
    if not scheme(url):
        raise SourceError(f"{url}: expected a URL beside the others, got a path")
    return [
        "".join(text + number for text, number in zip(parts[0::3], (*chosen, ""), strict=True))
        for chosen in product(*ranges)
    ]


def _names(urls: Sequence[str]) -> dict[str, str]:
    """For each URL its place below the folder that all of them lie in."""
    places = {url: urlsplit(url).netloc + urlsplit(url).path for url in urls}
    root = posixpath.commonpath([posixpath.dirname(place) for place in places.values()])
    names = {url: posixpath.relpath(place, root) for url, place in places.items()}
    if len({*names.values()}) < len(urls):
        raise SourceError(f"{urls[0]}: expected each tar once, got {len(urls)} URLs of {len({*names.values()})} tars")
    return names
