"""Write one self-contained page about the run: what was chosen, what was learned, where it goes wrong."""

import logging
from pathlib import Path

import click
from pydantic import Field

from pipeline.base.files import whole_folder
from pipeline.base.params import Block, Params
from pipeline.report.page import PICTURE_SIDE, Shown, render
from pipeline.report.run import Run
from pipeline.shards.pictures import pictures
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command

log = logging.getLogger(__name__)


class ReportParams(Block):
    """The block `report` of params.yaml."""

    pictures: int = Field(ge=1, le=1000)  # of each kind, at most


@command(__doc__)
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="The run's folder.")
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "report", show_default=True)
def main(params: Params, data: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    options = params.stage("report", ReportParams)
    run = Run.read(data)
    shown = Shown.choose(run, options.pictures)
    reading = params.block("reading", Reading)
    page = render(run, shown, pictures(run.manifest, run.index, shown.keys(), PICTURE_SIDE, reading), params.seed)
    with whole_folder(out) as part:
        (part / "index.html").write_text(page, encoding="utf-8")
    log.info("the page is %s", out / "index.html")


if __name__ == "__main__":
    main()
