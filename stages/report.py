"""Write one self-contained page about the run: what was chosen, what was learned, where it goes wrong."""

import logging
from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.report.run import ReportParams, report
from stages.cli import DATA, command

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="The run's folder.")
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "report", show_default=True)
def main(params: Params, data: Path, out: Path) -> None:
    reading = params.block("machine", Machine).reading
    log.info("the page is %s", report(data, out, params.stage("report", ReportParams), params.seed, reading))


if __name__ == "__main__":
    main()
