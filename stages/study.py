"""Measure what each label is worth: selectors x training methods x budgets x seeds, on the vectors of this run.

Needs what ingest, pretrain, embed and graph wrote, and the answers of all images. A case that has its record below
data/study/records is not computed again, so a run that was ended goes on, and a larger grid adds to a smaller one.
"""

import click

from pipeline.base.params import Params
from pipeline.study.grid import Grid
from pipeline.study.run import study
from stages.cli import DATA, command


@command(__doc__)
@click.option("--selector", "selectors", multiple=True, default=("auto", "kmeans", "typiclust"), show_default=True)
@click.option("--method", "methods", multiple=True, default=("propagate", "probe"), show_default=True,
              help="propagate, probe (a linear one on the vectors), or another block of train.")  # fmt: skip
@click.option("--budget", "budgets", multiple=True, type=int, default=(10, 20, 40, 100), show_default=True)
@click.option("--seeds", default=5, show_default=True, help="How many: 0, 1, ...")
def main(
    params: Params, selectors: tuple[str, ...], methods: tuple[str, ...], budgets: tuple[int, ...], seeds: int
) -> None:
    grid = Grid(selectors, tuple(dict.fromkeys(methods)), tuple(sorted(set(budgets))), seeds)
    found = [row for row in study(params, grid, DATA) if row.multiplier is not None]
    for row in sorted(found, key=lambda row: grid.methods.index(row.method)):
        click.echo(row)
    click.echo(f"the tables: {DATA / 'study/study.md'}")


if __name__ == "__main__":
    main()
