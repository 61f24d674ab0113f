"""The stage: one page about a run, and one table of all its images."""

import os
from pathlib import Path

from pydantic import Field

from pipeline.base.files import whole_folder
from pipeline.base.machine import Reading
from pipeline.base.params import Block
from pipeline.evaluate.metrics import finest
from pipeline.report import every_image
from pipeline.report.inputs import Run
from pipeline.report.page import PICTURE_SIDE, Shown, render
from pipeline.shards.pictures import pictures

ELSEWHERE = {
    "evaluate/metrics.json": "all metrics",
    "select/picks.csv": "the picks",
    "label/page.html": "the label page",
}


class ReportParams(Block):
    """The block `report` of params.yaml."""

    pictures: int = Field(ge=1, le=1000)  # of each kind, at most


def report(data: Path, out: Path, params: ReportParams, seed: int, reading: Reading) -> Path:
    """Writes page and table of the run below `data` into the folder `out`; gives the page's path."""
    run = Run.read(data)
    shown = Shown.choose(run, params.pictures)
    links = {
        "predictions.csv": "every image, a row each",
        **{os.path.relpath(data / file, out): words for file, words in ELSEWHERE.items()},
    }
    page = render(run, shown, pictures(run.manifest, run.index, shown.keys(), PICTURE_SIDE, reading), seed, links)
    with whole_folder(out) as part:
        every_image.write(part / "predictions.csv", run, {**finest(run.audit), **finest(run.labels)})
        (part / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"
