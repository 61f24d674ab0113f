"""A tar of images with the rows of its index, for new tars and for those that are there already."""

import hashlib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from pipeline.artifacts.shards import Shard
from pipeline.base.files import whole_file
from pipeline.ingest.source import Span


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
        out = _Digested(raw)
        whole = cast(BinaryIO, out)  # tarfile writes and asks for the place; its stubs want all that a file can do
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for key, data, extension in images:
                member = tarfile.TarInfo(f"{key}.{extension}")  # time and owner are 0 unless they are set
                member.size = len(data)
                rows.append(Row(key, split, file.name, tar.offset + tarfile.BLOCKSIZE, member.size))
                tar.addfile(member, BytesIO(data))
        size = raw.tell()
    return Shard(file.name, size, out.sha256.hexdigest(), len(rows)), rows


class _Digested:
    """A file that is written from start to end, and the digest of what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def placed(part: tuple[Shard, list[Row]], home: Path) -> tuple[Shard, list[Row]]:
    """A shard and its rows with the folder in which the tar lies now."""
    shard, rows = part
    path = (home / shard.path).as_posix()
    return replace(shard, path=path), [row._replace(shard=path) for row in rows]


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
