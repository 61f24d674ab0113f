"""Mean, standard deviation and interval of each of the model's metrics over the seeds of FOLDER/params.yaml.

Reads FOLDER/seeds/<seed>/evaluate/metrics.json and writes FOLDER/summary.csv and FOLDER/metrics.json. The graph in
experiments/replicate makes what it reads: `make replicate`.
"""

from pathlib import Path

import click

from pipeline.evaluate.replicates import summarise_folder
from stages.cli import one_line_errors


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    with one_line_errors():
        for summary in summarise_folder(folder):
            click.echo(summary)


if __name__ == "__main__":
    main()
