"""A cache of shards behind URLs, for all processes of this machine: whole, checked files, bounded in bytes."""

import hashlib
import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.machine import Reading
from pipeline.shards.remote.download import Stopped, download

OWN = re.compile(r"[0-9a-f]{64}\.(tar|part)")  # other files in the folder are somebody else's
POLL = 0.1  # seconds between looks at what another process has


class Cache:
    """A folder of files named by their sha256; the least recently used are deleted when room is needed.

    One process fetches a shard and the others wait for it. A file that is deleted while it is open can be read until it
    is closed. The part that a killed process leaves is deleted when room or its shard is needed.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading, self._folder = reading, Path(reading.cache_dir)
        self.limit = int(reading.cache_mb * 1e6)

    def open(self, shard: Shard, stop: threading.Event, *, digest: bool) -> int:
        """A descriptor of the shard's bytes, which the caller closes.

        They were hashed when they came; with `digest` cached bytes are hashed again, and fetched anew if they have
        changed. Raises ArtifactError where they cannot be fetched, ParamsError where they do not fit.
        """
        handle = self._cached(shard, digest=digest)
        if handle is None:
            with self._writing(), self._locked(shard.sha256, stop):
                handle = self._cached(shard, digest=digest)
                if handle is None:
                    handle = self._fetched(shard.path, shard.sha256, shard, stop)[0]
        return handle

    def add(self, url: str, stop: threading.Event) -> tuple[int, int, str]:
        """A descriptor of what is at a URL now, which the caller closes, its size and its sha256."""
        name = hashlib.sha256(url.encode()).hexdigest()
        with self._writing(), self._locked(name, stop):
            return self._fetched(url, name, None, stop)

    def too_small(self, num_bytes: int, why: str) -> ParamsError:
        return ParamsError(
            f"machine.reading.cache_mb: expected at least {math.ceil(num_bytes / 1e4) / 100:g}, {why}, "
            f"got {self._reading.cache_mb:g}"
        )

    def _cached(self, shard: Shard, *, digest: bool) -> int | None:
        file = self._folder / f"{shard.sha256}.tar"
        try:
            handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return None
        right = os.fstat(handle).st_size == shard.bytes
        if right and digest:
            with os.fdopen(handle, "rb", closefd=False) as opened:
                right = hashlib.file_digest(opened, "sha256").hexdigest() == shard.sha256
        if not right:
            os.close(handle)
            file.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # it is another user's: then it leaves a little earlier
            os.utime(handle)
        return handle

    def _fetched(self, url: str, name: str, wanted: Shard | None, stop: threading.Event) -> tuple[int, int, str]:
        part = self._folder / f"{name}.part"
        try:
            # Never by way of a link: that would write to another file.
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
            with os.fdopen(handle, "w+b") as out:

                def reserve(num_bytes: int) -> None:
                    """Waits for room for all of it."""
                    if num_bytes > self.limit:
                        raise self.too_small(num_bytes, f"the size of {url}")
                    while not self._reserved(num_bytes, part, out, stop):
                        if stop.wait(POLL):  # the rest is on its way: each will be whole, and may leave then
                            raise Stopped(url)

                size, digest = download(url, out, wanted, self._reading, stop, reserve)
                out.flush()
                os.fsync(out.fileno())
                part.replace(self._folder / f"{digest}.tar")
                return os.dup(out.fileno()), size, digest
        finally:
            part.unlink(missing_ok=True)

    def _reserved(self, num_bytes: int, part: Path, out: BinaryIO, stop: threading.Event) -> bool:
        """Gives the part so many bytes if there is room; others count it as it will be."""
        with self._locked("cache", stop):
            freed = self._freed(num_bytes, part)
            if freed:
                out.truncate(num_bytes)
            return freed

    def _freed(self, num_bytes: int, part: Path) -> bool:
        """Whether there is room for so many bytes once what may leave has left."""
        sizes, used = {}, {}
        for file in self._folder.iterdir():
            if file == part or not OWN.fullmatch(file.name) or (file.suffix == ".part" and self._dead(file)):
                continue
            with suppress(FileNotFoundError):
                sizes[file], used[file] = file.stat().st_size, file.stat().st_mtime_ns
        total = sum(sizes.values())
        for file in sorted((file for file in used if file.suffix == ".tar"), key=lambda file: (used[file], file.name)):
            if total + num_bytes <= self.limit:
                break
            file.unlink(missing_ok=True)
            total -= sizes[file]
        return total + num_bytes <= self.limit

    def _dead(self, part: Path) -> bool:
        """Whether a part belonged to a process that is no more; it is removed then."""
        try:
            with FileLock(part.with_suffix(".lock"), timeout=0):
                part.unlink(missing_ok=True)
                return True
        except Timeout:
            return False

    @contextmanager
    def _locked(self, name: str, stop: threading.Event) -> Iterator[None]:
        lock = FileLock(self._folder / f"{name}.lock")  # one of its own, so that it holds among threads too
        while True:
            try:
                held = lock.acquire(timeout=POLL)
                break
            except Timeout:
                if stop.is_set():
                    raise Stopped(name) from None
        with held:
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ArtifactError(
                f"{self._folder}: expected to write shards to it (machine.reading.cache_dir), got: {reason}"
            ) from error
