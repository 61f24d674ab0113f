"""Measure training methods where there are a few images of each class and no others, unlabelled ones neither.

Rate and decay are tuned on validation images, a fifth of those. BACKBONE and a set of images are what
`python -m stages.transfer --help` says. What has its record below OUT/records is not computed again.
"""

from pathlib import Path

import click

from pipeline.base.params import Params
from pipeline.transfer.cell import DECAYS, RATES
from pipeline.transfer.small_data import Plan, small_data
from stages.cli import DATA, command, path_option


@command(__doc__)
@click.option("--backbone", "backbones", multiple=True, default=("packaged", "random:small_resnet"), show_default=True)
@click.option("--data", multiple=True, default=(".",), show_default=True, help="A run, a folder, or a source.")
@click.option("--method", "methods", multiple=True, default=("supervised", "finetune"), show_default=True)
@click.option("--per-class", default=50, show_default=True, help="Images of each class.")
@click.option("--splits", default=3, show_default=True, help="How many draws of the images.")
@click.option("--runs", default=10, show_default=True, help="How many trainings on each draw.")
@click.option("--rate", "rates", multiple=True, type=float, default=RATES, show_default=True, help="To choose from.")
@click.option("--decay", "decays", multiple=True, type=float, default=DECAYS, show_default=True)
@click.option(
    "--most", type=click.IntRange(min=1), default=10_000, show_default=True, help="Images of a split, at most."
)
@path_option("--out", DATA / "small_data")
def main(params: Params, backbones: tuple[str, ...], data: tuple[str, ...], methods: tuple[str, ...], per_class: int,
         splits: int, runs: int, rates: tuple[float, ...], decays: tuple[float, ...], most: int,
         out: Path) -> None:  # fmt: skip
    plan = Plan(tuple(dict.fromkeys(methods)), per_class, splits, runs, sorted({*rates}), sorted({*decays}))
    for row in small_data(params, backbones, data, plan, most, out):
        click.echo(row)
    click.echo(f"the tables: {out / 'small_data.md'}")


if __name__ == "__main__":
    main()
