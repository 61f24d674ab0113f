"""Measure the trained model on the test images, and what the selection bought; without answers, what can be known."""

from pathlib import Path

import click

from pipeline.base.files import read_json
from pipeline.base.params import Params
from pipeline.evaluate.headline import headline
from pipeline.evaluate.run import evaluate
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--embed", DATA / "embed")
@path_option("--graph", DATA / "graph")
@path_option("--labels", DATA / "label/labels.csv")
@path_option("--audit", DATA / "label/audit.csv")
@path_option("--model", DATA / "train")
@path_option("--out", DATA / "evaluate")
def main(params: Params, **paths: Path) -> None:
    values = evaluate(params, **paths)
    method = read_json(paths["model"] / "model.json")["method"]
    click.echo(f"{headline(values, method)}; all metrics: {paths['out'] / 'metrics.json'}")


if __name__ == "__main__":
    main()
