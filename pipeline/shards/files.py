"""Shards as open files: those of this machine where they lie, those behind URLs in the cache."""

import os
import threading
from collections.abc import Sequence

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import ArtifactError
from pipeline.base.machine import Reading
from pipeline.shards.remote.cache import Cache

KEPT_OPEN = 512  # shards; many systems allow a process 1024 files


class Opened:
    """An open file that is closed when nobody holds it any more."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)


class ShardFiles:
    """Opens shards, for any number of threads at once; shards behind URLs need `reading`."""

    def __init__(self, shards: Sequence[Shard], reading: Reading | None) -> None:
        remote = [shard for shard in shards if shard.remote]
        if remote and reading is None:
            raise ArtifactError(f"{remote[0].path}: expected a shard of this machine, got a URL")
        self._cache = Cache(reading) if remote and reading is not None else None
        self._largest = sorted((shard.bytes for shard in remote), reverse=True)
        self._stop = threading.Event()

    @property
    def near(self) -> bool:
        """Whether all of them lie on this machine."""
        return self._cache is None

    @property
    def kept(self) -> int:
        """How many may be kept open: an open file takes disk space, also after it has left the cache."""
        return KEPT_OPEN if self._cache is None else max(1, min(KEPT_OPEN, self._cache.limit // self._largest[0]))

    def fit(self, count: int, why: str) -> None:
        """Raises ParamsError where the cache cannot hold any `count` of them at once; `why` is for the message."""
        if self._cache is not None and sum(self._largest[:count]) > self._cache.limit:
            raise self._cache.too_small(sum(self._largest[:count]), why)

    def open(self, shard: Shard, *, digest: bool) -> Opened:
        """Raises ArtifactError for a shard that is missing or changed; with `digest` all its bytes are compared."""
        if shard.remote and self._cache is not None:
            return Opened(self._cache.open(shard, self._stop, digest=digest))
        shard.check(digest=digest)
        return Opened(os.open(shard.path, os.O_RDONLY))

    def stop(self) -> None:
        """Ends all downloads, also for threads that wait for them."""
        self._stop.set()
