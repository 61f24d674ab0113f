"""The gallery of a table of predictions for files of a folder."""

from pathlib import Path

import numpy as np

from pipeline.artifacts.predictions import columns
from pipeline.base.files import number, read_csv, whole_file
from pipeline.report import gallery_page
from pipeline.report.images import NONE, Images
from pipeline.report.thumbnails import SIDE, choose, within
from pipeline.shards.decode import read_file
from pipeline.shards.pictures import picture_of

MOST = 2000  # pictures in the page, at most


def write_gallery(table: Path, folder: Path, channels: int, out: Path) -> None:
    """Writes a page of all rows of a table that `predict` wrote, with pictures of the surest to the least sure."""
    rows = read_csv(table, ("path", *columns(1)))[1]
    paths, n = [row[0] for row in rows], len(rows)
    nothing = [NONE] * n
    images = Images(
        keys=paths,
        paths=paths,
        tested=np.zeros(n, bool),
        label=nothing,
        answer=nothing,
        prediction=[row[1] for row in rows],
        confidence=np.array([number(table, row[2]) for row in rows]),
        before=nothing,
        rank=np.zeros(n, np.int64),
        classes=sorted({row[1] for row in rows}),
    )
    chosen = choose(images, (), MOST)
    thumbs = within((row, picture_of(read_file(folder / paths[row]), channels, SIDE)) for row in chosen)
    page = gallery_page.render(folder.name, images, np.arange(n), None, thumbs, n)
    with whole_file(out) as part:
        part.write_text(page, encoding="utf-8")
