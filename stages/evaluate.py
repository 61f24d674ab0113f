"""Measure the trained model on the test images, and what the selection bought; without answers, what can be known."""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.evaluate.metrics import EvaluateParams
from pipeline.evaluate.run import evaluate
from stages.cli import DATA, command


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--embed", type=click.Path(path_type=Path), default=DATA / "embed", show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=DATA / "label/labels.csv", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "evaluate", show_default=True)
def main(params: Params, ingest: Path, embed: Path, labels: Path, model: Path, out: Path) -> None:
    block, reading = params.stage("evaluate", EvaluateParams), params.block("machine", Machine).reading
    values = evaluate(ingest, embed, labels, model, out, block, params.seed, reading).values
    click.echo("\n".join(f"{name} {value:.6g}" for name, value in sorted(values.items())))


if __name__ == "__main__":
    main()
