"""The stage: one page about a run, map and gallery of all its images, and tables of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.left_out import SaidWithout
from pipeline.artifacts.neighbours import Neighbours
from pipeline.base import rng
from pipeline.base.files import whole_folder
from pipeline.base.machine import Reading
from pipeline.base.params import Block
from pipeline.evaluate.metrics import finest
from pipeline.report import every_image, gallery_page, map_page
from pipeline.report.coordinates import Method, coordinates, has_umap
from pipeline.report.images import Images
from pipeline.report.inputs import Run
from pipeline.report.oddities import Oddities
from pipeline.report.page import PICTURE_SIDE, Shown, render
from pipeline.report.thumbnails import choose, thumbnails
from pipeline.shards.pictures import pictures
from pipeline.vectors.rows import sample

BESIDE = {
    "map.html": "the map of all images",
    "gallery.html": "all images, to filter",
    "predictions.csv": "every image, a row each",
}
ELSEWHERE = {
    "evaluate/metrics.json": "all metrics",
    "select/picks.csv": "the picks",
    "label/page.html": "the label page",
}
ON_A_PAGE = 200_000  # images, at most, that map and gallery show: 25 MB, which a browser takes well


class ReportParams(Block):
    """The block `report` of params.yaml."""

    pictures: int = Field(ge=1, le=1000)  # of each kind, at most
    gallery: int = Field(ge=0, le=20_000)  # pictures on the map and in the gallery, at most
    map: Method

    @field_validator("map")
    @classmethod
    def _installed(cls, name: Any) -> Any:
        if name == "umap" and not has_umap():
            raise ValueError("the package umap-learn, found none: pip install -e '.[umap]', or take tsne")
        return name


def report(data: Path, out: Path, params: ReportParams, seed: int, reading: Reading) -> Path:
    """Writes pages and tables of the run below `data` into the folder `out`; gives the page's path."""
    run = Run.read(data)
    train, test = Embeddings.read(data / "embed/train"), Embeddings.read(data / "embed/test")
    neighbours = Neighbours.read(data / "graph", len(train.keys))
    said = SaidWithout.read(data / "evaluate/left_out.csv")
    images = Images.of(run, train.keys, test.keys, said)
    odd = Oddities.find(images, said, neighbours)
    places, words = None, ""
    if params.map != "none":
        vectors = np.concatenate([train.vectors, test.vectors]) if test.keys else train.vectors
        places, words = coordinates(vectors, params.map)
    there = np.union1d(sample(len(images.keys), ON_A_PAGE, rng.stream(0, "report", "page")), odd.rows())
    on_page, at = images.take(there), None if places is None else places[there]
    thumbs = thumbnails(
        run, on_page, choose(on_page, np.searchsorted(there, odd.rows()).tolist(), params.gallery), reading
    )
    shown = Shown.choose(run, params.pictures)
    links = {**BESIDE, **{os.path.relpath(data / file, out): words for file, words in ELSEWHERE.items()}}
    page = render(run, shown, pictures(run.manifest, run.index, shown.keys(), PICTURE_SIDE, reading), seed, links)
    with whole_folder(out) as part:
        every_image.write(part / "predictions.csv", run, {**finest(run.audit), **finest(run.labels)})
        map_page.write_table(part / "map.parquet", images, places, neighbours)
        atlas = map_page.render(run.manifest.source, on_page, at, words, thumbs, len(images.keys))
        gallery = gallery_page.render(run.manifest.source, on_page, there, odd, thumbs, len(images.keys))
        (part / "gallery.html").write_text(gallery, encoding="utf-8")
        (part / "map.html").write_text(atlas, encoding="utf-8")
        (part / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"
