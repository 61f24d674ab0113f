"""The stage `graph`: the nearest neighbours of every training image, by their vectors alone."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from pydantic import Field

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.vectors import megabytes
from pipeline.base.errors import ParamsError
from pipeline.base.files import whole_folder, write_json
from pipeline.base.log import write_log
from pipeline.base.params import Block, Params
from pipeline.vectors.geometry import centred
from pipeline.vectors.neighbours import InvertedLists, Search

COPIES = 4  # of the vectors in memory at once; the tables of neighbours are small beside them


class GraphParams(Block):
    """The block `graph`."""

    neighbours: int = Field(ge=1)  # of each image, itself not among them; fewer where there are fewer images
    search: Search


def nearest_others(x: Float32[ndarray, "n d"], k: int, search: Search) -> tuple[Neighbours, dict[str, object]]:
    """The min(k, n - 1) nearest other rows of each row, nearest first, and how they were found.

    Among equals that were found the lower row comes first; of more than k copies the search decides which are found.
    """
    k = min(k, len(x) - 1)
    found = InvertedLists.build(centred(x), search).search(k + 1, search)
    rows, sq_dist = np.full((len(x), k), -1, np.int32), np.full((len(x), k), np.inf, np.float32)
    for part, distance, row in found.knn(k + 1):
        distance = np.where(row == part[:, None], -1, distance)  # itself first; of many copies it may be missing
        order = np.lexsort((row, distance), axis=1)
        own = (row == part[:, None]).any(axis=1)
        order = np.where(own[:, None], order[:, 1:], order[:, :-1])
        rows[part] = np.take_along_axis(row, order, axis=1)
        sq_dist[part] = np.take_along_axis(distance, order, axis=1)
    return Neighbours(rows, sq_dist), dict(found.about)


def run(params: Params, embeddings: Path, out: Path) -> None:
    """Writes neighbours and a record of the search into the folder `out`.

    Raises ParamsError for a single image, and before it reads vectors that this machine's memory cannot hold.
    """
    block = params.stage("graph", GraphParams)
    _refuse_too_large(embeddings / "vectors.npy")
    x = Embeddings.read(embeddings).vectors
    if len(x) < 2:
        raise ParamsError(f"{embeddings}: expected two training images at least, got {len(x)}")
    with write_log(out.parent, "graph", {"images": len(x)}):
        neighbours, about = nearest_others(x, block.neighbours, block.search)
        with whole_folder(out) as folder:
            neighbours.write(folder)
            write_json(folder / "record.json", {"n": len(x), "k": neighbours.rows.shape[1], **about})


def _refuse_too_large(file: Path) -> None:
    needed = COPIES * megabytes(file) if file.is_file() else 0  # reading says that a file is missing
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    if needed > memory:
        raise ParamsError(
            f"{file}: expected vectors whose neighbours are found in this machine's {memory:,.0f} MB, got some that "
            f"need {needed:,.0f}: set a smaller embed.dim, or take a larger machine"
        )
