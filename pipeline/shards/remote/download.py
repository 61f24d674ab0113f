"""The bytes at a URL as one stream into a file: hashed on their way, asked for again where they stop."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import aiohttp
import fsspec
from pydantic import Field

from pipeline.artifacts.shards import Shard, scheme
from pipeline.base.errors import ArtifactError, PipelineError, first_line
from pipeline.base.params import Block

CHUNK = 1 << 20  # bytes that are asked for at a time
AGAIN = (408, 416, 429)  # refusals that may not last; 416: there is less than had come already
PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}


class Reading(Block):
    """The block `reading`: of shards behind URLs. Nothing in it changes a result."""

    cache_dir: str
    cache_mb: float = Field(gt=0)
    retries: int = Field(ge=0)
    wait_s: float = Field(ge=0)
    timeout_s: float = Field(gt=0)


class Stopped(PipelineError):
    """Nobody waits for the bytes any more."""


class _Fault(Exception):
    """What came in place of the bytes; a `final` one would come again, after `anew` all is asked for from byte 0."""

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

    What breaks off goes on where it stopped, if the server can do that, and begins anew if it cannot or the bytes are
    wrong. `reserve` is told the size before anything is written. Raises ArtifactError when the last attempt has failed.
    """
    arrived, digest, tried = 0, hashlib.sha256(), 0
    while True:
        try:
            tried += 1
            with _opened(url, arrived, reading.timeout_s) as (stream, start, said):
                if start not in (0, arrived):
                    raise _Fault(f"bytes from {start} on for those from {arrived}", anew=True)
                if start != arrived:
                    arrived, digest = 0, hashlib.sha256()
                total = _settled(said, wanted)
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
            found = digest.hexdigest()
            if not longer and (wanted is None or found == wanted.sha256):
                return arrived, found
            came = f"more than {arrived} bytes" if longer else f"other bytes (sha256 {found[:12]}...)"
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


def _settled(said: int | None, wanted: Shard | None) -> int:
    """The size to come, from what the server says and the manifest does."""
    total = wanted.bytes if wanted else said
    if total is None:
        raise _Fault("an answer that does not say its size", final=True)
    if said not in (None, total):
        raise _Fault(f"{said} bytes")
    return total


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
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if not found:
            raise _Fault("a part that does not say which", anew=True)
        return int(found[1]), int(found[2])
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
        raise _Fault("nothing before the time-out (reading.timeout_s)") from error
    except aiohttp.ClientResponseError as error:
        final = 400 <= error.status < 500 and error.status not in AGAIN
        raise _Fault(f"status {error.status}", final=final, anew=error.status == 416) from error
    except (FileNotFoundError, PermissionError, aiohttp.InvalidURL) as error:
        came = "none" if isinstance(error, FileNotFoundError) else first_line(error)
        raise _Fault(came, final=True) from error
    except Exception as error:  # four services, and packages that wrap one another's errors or do not
        raise _Fault(first_line(error)) from error
