"""Shards with the rows of their index: new tars that hold images and nothing else, or tars that are there already."""

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from itertools import chain, count, islice
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import Shard
from pipeline.files import sha256
from pipeline.sources.source import Item, Span


class Row(NamedTuple):
    """A row of `index.parquet`."""

    key: str
    split: str
    shard: str
    offset: int
    size: int


def write_tars(
    images: Iterable[tuple[str, bytes, str]], folder: Path, split: str, shard_images: int
) -> Iterator[tuple[Shard, list[Row]]]:
    """Writes (key, bytes, extension) in their order to `<split>-000000.tar` and so on, `shard_images` in each at most.

    The shards and rows that are yielded name the tars without their folder, which `placed` adds. The same images give
    the same bytes.
    """
    images = iter(images)
    for number in count():
        first = next(images, None)
        if first is None:
            return
        name = f"{split}-{number:06d}.tar"
        rows = []
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
            for key, data, extension in chain([first], islice(images, shard_images - 1)):
                member = tarfile.TarInfo(f"{key}.{extension}")  # time and owner are 0 unless they are set
                member.size = len(data)
                rows.append(Row(key, split, name, tar.offset + tarfile.BLOCKSIZE, member.size))
                tar.addfile(member, BytesIO(data))
        yield _shard(folder / name, name, len(rows)), rows


def placed(part: tuple[Shard, list[Row]], home: Path) -> tuple[Shard, list[Row]]:
    """A shard and its rows with the folder in which the tar lies now."""
    shard, rows = part
    path = (home / shard.path).as_posix()
    return replace(shard, path=path), [row._replace(shard=path) for row in rows]


def index_tars(
    items: Mapping[str, Item], splits: Mapping[str, str], tars: Mapping[Path, Shard]
) -> dict[str, list[tuple[Shard, list[Row]]]]:
    """For each split, the tars in which its images lie; a tar may lie in both, its images counted in each."""
    rows: dict[tuple[str, Path], list[Row]] = {}
    for key, item in items.items():
        if isinstance(item.image, Span):
            tar, offset, size = item.image.tar, item.image.offset, item.image.size
            path = tars[tar].path if tar in tars else tar.as_posix()
            rows.setdefault((splits[key], tar), []).append(Row(key, splits[key], path, offset, size))
    found: dict[str, list[tuple[Shard, list[Row]]]] = {"train": [], "test": []}
    for (split, tar), own in sorted(rows.items()):
        shard = replace(tars[tar], count=len(own)) if tar in tars else _shard(tar, tar.as_posix(), len(own))
        found[split].append((shard, own))
    return found


def _shard(file: Path, path: str, num_images: int) -> Shard:
    return Shard(path, file.stat().st_size, sha256(file), num_images)
