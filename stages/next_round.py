"""Finish a round and prepare the next: keep its labels, and set how many images come next and how they are chosen.

It does what `keep_round` does, and writes select.budget and select.method into params.yaml. The default, uherding,
chooses images that the round's model is unsure of and that no labelled image is near. Then `dvc repro` chooses them.
"""

from pathlib import Path

import click

from pipeline.base.typed import here
from pipeline.next_round import next_round
from pipeline.select.methods import SELECTORS
from stages.cli import DATA, one_line_errors, path_option


@click.command(help=__doc__)
@click.option("--budget", type=click.IntRange(1), default=40, show_default=True, help="How many images to label next.")
@click.option("--method", default="uherding", show_default=True, type=click.Choice(sorted(SELECTORS)), metavar="NAME")
@path_option("--params", Path("params.yaml"))
@path_option("--data", DATA)
def main(budget: int, method: str, params: Path, data: Path) -> None:
    with one_line_errors():
        for line in next_round(params, data, budget, method, here()):
            click.echo(line)


if __name__ == "__main__":
    main()
