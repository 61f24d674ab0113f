"""Measure the trained model on the test images, and what the selection bought; without answers, what can be known."""

import logging
from pathlib import Path

import click
import numpy as np

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import read_json, whole_folder, write_csv, write_json
from pipeline.base.params import Params
from pipeline.evaluate import accuracy, metrics, plots
from pipeline.evaluate.guess import guess_split
from pipeline.evaluate.levels import parents_in
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command, write_log

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--embed", type=click.Path(path_type=Path), default=DATA / "embed", show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=DATA / "label/labels.csv", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "evaluate", show_default=True)
def main(params: Params, ingest: Path, embed: Path, labels: Path, model: Path, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    options, reading = params.stage("evaluate", metrics.EvaluateParams), params.block("reading", Reading)
    seed = params.seed
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "test")
    answers, given = Labels.read(ingest / "answers.csv"), Labels.read(labels)
    train, test = Embeddings.read(embed / "train"), Embeddings.read(embed / "test")
    unreached = read_json(model / "model.json").get("unreached", [])
    net = Classifier.read(model).to(Device.choose("fp32").device)
    parents = parents_in(answers, given)
    with write_log(out.parent, "evaluate", {"images": len(test.keys)}):
        guesses = guess_split(net, manifest, index, "test", parents, options.batch_size, reading)
        measured = metrics.gather(guesses, given, answers, unreached, train, test, options, seed)
    found = metrics.predicted(guesses, answers)
    with whole_folder(out) as part:
        write_json(part / "metrics.json", measured.values)
        found.write(part / "predictions.csv")
        draws = [(i, f"{draw.top1:.9g}", draw.classes_covered) for i, draw in enumerate(measured.draws)]
        write_csv(part / "draws.csv", ("draw", "top1", "classes_covered"), draws)
        (part / "plots").mkdir()
        rows = [row for row in zip(found.answers, found.predictions, found.confidence, strict=True) if row[0]]
        if rows:
            names = sorted({name for row in rows for name in row[:2]})
            truth, said = (np.array([names.index(row[side]) for row in rows]) for side in (0, 1))
            plots.confusion(part / "plots/confusion.png", accuracy.confusion(truth, said, len(names)), names)
            sure = np.array([row[2] for row in rows])
            plots.reliability(part / "plots/reliability.png", accuracy.calibration(sure, truth == said))
    for why, names in metrics.absent(measured.values):
        log.info("absent: %s: %s", ", ".join(names), why)
    click.echo("\n".join(f"{name} {value:.6g}" for name, value in sorted(measured.values.items())))


if __name__ == "__main__":
    main()
