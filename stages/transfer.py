"""Measure which backbone suits which images: backbones are rows, sets of images are columns.

A BACKBONE is [NAME=]WHAT[@SIDE], seen at SIDE pixels where that is given. WHAT is a run, a folder with
backbone.safetensors, packaged[:MODEL], torchvision:BACKBONE, timm:MODEL, random:BACKBONE or file:BACKBONE:PATH. A set
is [NAME=]WHAT: a run, a folder of images or of tars with labels, or a source such as digits. What has its record below
OUT/records is not computed again.
"""

from pathlib import Path

import click

from pipeline.base.params import Params
from pipeline.transfer.cell import Plan
from pipeline.transfer.run import transfer
from stages.cli import DATA, command, path_option


@command(__doc__)
@click.option("--backbone", "backbones", multiple=True, default=("packaged", "random:small_resnet"), show_default=True)
@click.option("--data", multiple=True, default=(".",), show_default=True, help="A run, a folder, or a source.")
@click.option("--shots", multiple=True, type=int, default=(1, 5, 20), show_default=True, help="Labels of each class.")
@click.option("--labels", multiple=True, type=int, default=(40,), show_default=True, help="Propagated, of selections.")
@click.option("--seeds", default=5, show_default=True, help="How many selections.")
@click.option("--most", default=10_000, show_default=True, help="Images of a split, at most.")
@click.option("--finetune", is_flag=True, help="Fine-tune each backbone too, nine times: hours without a GPU.")
@click.option("--scaling", is_flag=True, help="Also more and more labels, and two laws of how accuracy grows.")
@path_option("--out", DATA / "transfer")
def main(params: Params, backbones: tuple[str, ...], data: tuple[str, ...], shots: tuple[int, ...],
         labels: tuple[int, ...], seeds: int, most: int, finetune: bool, scaling: bool, out: Path) -> None:  # fmt: skip
    plan = Plan(tuple(sorted(set(shots))), tuple(sorted(set(labels))), seeds, finetune, scaling)
    for record in transfer(params, backbones, data, plan, most, out):
        click.echo(f"{record['backbone']} on {record['data']}: {100 * record['figures']['logistic'][0]:.1f} %")
    click.echo(f"the tables: {out / 'transfer.md'}")


if __name__ == "__main__":
    main()
