"""Downloads the bytes at a URL into a file: hashed while they come, asked for again where they stop."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import aiohttp
import fsspec

from pipeline.artifacts.shards import Shard, scheme
from pipeline.base.errors import ArtifactError, PipelineError, first_line
from pipeline.base.machine import Reading

CHUNK = 1 << 20  # bytes that are asked for at a time
AGAIN = (408, 416, 429)  # refusals that may not last; 416: there is less than had come already
PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}


class Stopped(PipelineError):
    """Nobody waits for the bytes any more."""


class _Fault(Exception):
    """What came in place of the bytes. A `final` fault would come again; after `anew` all is asked for from byte 0."""

    def __init__(self, came: str, *, final: bool = False, anew: bool = False) -> None:
        super().__init__(came)
        self.final, self.anew = final, anew


def download(
    url: str,
    out: BinaryIO,
    wanted: Shard | None,
    reading: Reading,
    stop: threading.Event,
    reserve: Callable[[int], None],
) -> tuple[int, str]:
    """Fills `out` with the bytes at a URL; their number and sha256, those of `wanted` where it is given.

    A broken download goes on where it stopped if the server can do that. It begins anew if the server cannot, or if the
    bytes are wrong. `reserve` gets the size before anything is written. Raises ArtifactError after the last attempt.
    """
    arrived, digest, tried = 0, hashlib.sha256(), 0
    while True:
        try:
            tried += 1
            with _opened(url, arrived, reading.timeout_s) as (stream, start, stated):
                if start not in (0, arrived):
                    raise _Fault(f"bytes from {start} on for those from {arrived}", anew=True)
                if start != arrived:
                    arrived, digest = 0, hashlib.sha256()
                total = _size(stated, wanted)
                reserve(total)
                out.seek(arrived)
                while arrived < total and (chunk := _read(stream, min(CHUNK, total - arrived))):
                    if stop.is_set():
                        raise Stopped(url)
                    out.write(chunk)
                    digest.update(chunk)
                    arrived += len(chunk)
                if arrived < total:
                    raise _Fault(f"the end after {arrived} bytes")
                longer = bool(_read(stream, 1))
            sha256 = digest.hexdigest()
            if not longer and (wanted is None or sha256 == wanted.sha256):
                return arrived, sha256
            came = f"more than {arrived} bytes" if longer else f"other bytes (sha256 {sha256[:12]}...)"
            raise _Fault(came, anew=True)
        except _Fault as fault:
            if fault.anew:
                arrived, digest = 0, hashlib.sha256()
            if fault.final or tried > reading.retries:
                expected = f"{wanted.bytes} bytes of sha256 {wanted.sha256[:12]}..." if wanted else "a tar"
                times = f" ({tried} attempts)" if tried > 1 else ""
                raise ArtifactError(f"{url}: expected {expected}, got {fault}{times}") from fault
        if stop.wait(reading.wait_s * 2 ** (tried - 1)):
            raise Stopped(url)


def _size(stated: int | None, wanted: Shard | None) -> int:
    """The number of bytes to come: that of the manifest, or else of the server, which must agree if it states one."""
    size = wanted.bytes if wanted else stated
    if size is None:
        raise _Fault("an answer that does not say its size", final=True)
    if stated not in (None, size):
        raise _Fault(f"{stated} bytes")
    return size


@contextmanager
def _opened(url: str, start: int, timeout_s: float) -> Iterator[tuple[Any, int, int | None]]:
    """A stream of the bytes from `start`, or from 0 where that cannot be; where it begins; the size of the whole."""
    kind = scheme(url)
    # Neither compressed, as a range would then count other bytes, nor a request for the size beforehand (size=1).
    asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    with _faults(url):
        if kind in PACKAGES:
            stream = fsspec.filesystem(kind, **_options(kind, timeout_s)).open(url, "rb")
            total: int | None = stream.size
            stream.seek(start)
        else:
            files = fsspec.filesystem(kind, **_options(kind, timeout_s))
            stream = files.open(url, "rb", block_size=0, size=1, headers=asked)
            start, total = _part(stream.r.status, stream.r.headers)
    try:
        yield stream, start, total
    finally:
        stream.close()


def _options(kind: str, timeout_s: float) -> dict[str, Any]:
    """Time-outs, of connecting and of waiting for the next bytes, as the packages call them."""
    if kind == "s3":
        return {"config_kwargs": {"connect_timeout": timeout_s, "read_timeout": timeout_s}}
    limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
    return {"requests_timeout": limits} if kind == "gs" else {"client_kwargs": {"timeout": limits}}


def _part(status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Where the body of an answer begins, and the size of the whole."""
    if status == 206:
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if not part:
            raise _Fault("a part that does not say which", anew=True)
        return int(part[1]), int(part[2])
    size = headers.get("Content-Length", "")
    return 0, int(size) if size.isdecimal() else None


def _read(stream: Any, num_bytes: int) -> bytes:
    with _faults(stream.path):
        return stream.read(num_bytes)


@contextmanager
def _faults(url: str) -> Iterator[None]:
    """What a package raises, which is of any kind, as a fault; a package that is missing as a line for the user."""
    try:
        yield
    except _Fault:
        raise
    except ImportError as error:
        name = PACKAGES[scheme(url)]
        raise ArtifactError(
            f"{url}: expected the package {name}, found none: pip install 'few-label-pipeline[{scheme(url)}]'"
        ) from error
    except TimeoutError as error:
        raise _Fault("nothing before the time-out (machine.reading.timeout_s)") from error
    except aiohttp.ClientResponseError as error:
        final = 400 <= error.status < 500 and error.status not in AGAIN
        raise _Fault(f"status {error.status}", final=final, anew=error.status == 416) from error
    except (FileNotFoundError, PermissionError, aiohttp.InvalidURL) as error:
        came = "none" if isinstance(error, FileNotFoundError) else first_line(error)
        raise _Fault(came, final=True) from error
    except Exception as error:  # four services, and packages that wrap one another's errors or do not
        raise _Fault(first_line(error)) from error
