"""A tar of images with the rows of its index, for new tars and for those that are there already."""

import hashlib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts.shards import Shard
from pipeline.base.files import whole_file
from pipeline.ingest.source import Span

NAMELESS = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)  # time and owner are 0


class Row(NamedTuple):
    """A row of `index.parquet`."""

    key: str
    split: str
    shard: str
    offset: int
    size: int


def write_tar(images: Iterable[tuple[str, bytes, str]], file: Path, split: str) -> tuple[Shard, list[Row]]:
    """Writes (key, bytes, extension) in their order, whole or not at all; the same images give the same bytes.

    Shard and rows name the tar without its folder, which `placed` adds.
    """
    rows = []
    with whole_file(file) as part, part.open("wb") as raw:
        digest, size = hashlib.sha256(), 0
        for key, data, extension in images:
            rows.append(Row(key, split, file.name, size + tarfile.BLOCKSIZE, len(data)))
            member = b"".join((_header(f"{key}.{extension}", len(data)), data, bytes(-len(data) % tarfile.BLOCKSIZE)))
            digest.update(member)
            size += raw.write(member)
        end = bytes(2 * tarfile.BLOCKSIZE + -(size + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)
        digest.update(end)
        size += raw.write(end)
    return Shard(file.name, size, digest.hexdigest(), len(rows)), rows


def _header(name: str, size: int) -> bytes:
    """The block before a file, as `tarfile` makes it in ten times the time."""
    header = bytearray(NAMELESS)
    header[: len(name)] = name.encode()
    header[124:135] = b"%011o" % size
    header[148:156] = b" " * 8  # the sum is of a header with spaces in its place
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header)


def placed(part: tuple[Shard, list[Row]], home: Path) -> tuple[Shard, list[Row]]:
    """A shard and its rows with the folder in which the tar lies now."""
    shard, rows = part
    path = (home / shard.path).as_posix()
    return replace(shard, path=path), [Row(row.key, row.split, path, row.offset, row.size) for row in rows]


def index_tars(
    spans: Mapping[str, Span], splits: Mapping[str, str], tars: Mapping[Path, Shard]
) -> dict[str, list[tuple[Shard, list[Row]]]]:
    """For each split, the tars in which its images lie; a tar may lie in both, its images counted in each."""
    rows: dict[tuple[str, Path], list[Row]] = {}
    for key, span in spans.items():
        row = Row(key, splits[key], tars[span.tar].path, span.offset, span.size)
        rows.setdefault((splits[key], span.tar), []).append(row)
    parts: dict[str, list[tuple[Shard, list[Row]]]] = {"train": [], "test": []}
    for (split, tar), inside in sorted(rows.items()):
        parts[split].append((replace(tars[tar], count=len(inside)), inside))
    return parts
