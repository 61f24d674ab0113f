"""What the shards of a split gave, as one table sorted by key."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError

AT_ONCE = 4096  # rows that are worked on at a time


def check_finite(found: Float32[ndarray, "b d"], keys: Sequence[str], shard: str) -> None:
    """Raises ArtifactError for the first image of a shard whose vector has a number that is not finite."""
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if bad.size:
        raise ArtifactError(
            f"{shard}: key {keys[bad[0]]}: expected finite features, got NaN or infinity for {bad.size} of "
            f"{len(keys)} images; pretrain again, or take another backbone"
        )


def rows_in(
    files: Sequence[Path], manifest: Manifest, index: Index, split: str
) -> Iterator[tuple[Int64[ndarray, " b"], Float32[ndarray, "b d"]]]:
    """What `embed_split` wrote, in blocks with their rows of the index; one shard's are in memory at a time."""
    for shard, file in zip(manifest.splits[split], files, strict=True):
        rows, found = index.rows(split, shard.path), np.load(file)
        for start in range(0, len(rows), AT_ONCE):
            yield rows[start : start + AT_ONCE], found[start : start + AT_ONCE]


def join(
    files: Sequence[Path],
    manifest: Manifest,
    index: Index,
    split: str,
    folder: Path,
    made: Callable[[ndarray, ndarray], ndarray] = lambda _, found: found,
) -> None:
    """Writes the vectors that are `made` of the shards of a split as one table, sorted by key, a block at a time."""
    every = index.rows(split)
    blocks = rows_in(files, manifest, index, split)
    placed = ((np.searchsorted(every, rows), made(rows, found)) for rows, found in blocks)
    Embeddings.write_blocks(folder, index.keys_of(every), placed)
