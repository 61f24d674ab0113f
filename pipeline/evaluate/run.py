"""The stage: a trained model's predictions for the test images, and all metrics."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.artifacts.confirmed import read_confirmed
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.predictions import Predictions, PseudoLabels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import first_names
from pipeline.base.files import read_json, whole_folder, write_csv, write_json
from pipeline.base.log import write_log
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.evaluate import accuracy, metrics, plots
from pipeline.evaluate.levels import parents_in
from pipeline.evaluate.metrics import EvaluateParams
from pipeline.evaluate.new_classes import of_new_classes
from pipeline.evaluate.predict import predict_split
from pipeline.evaluate.propagated import measure
from pipeline.graph.propagation import PropagateParams
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device

log = logging.getLogger(__name__)


def evaluate(
    params: Params, ingest: Path, embed: Path, graph: Path, labels: Path, audit: Path, model: Path, out: Path
) -> Mapping[str, float | int]:
    """Measures the `model` on the test split and on the labels of the audit; writes `out`, all of it or nothing."""
    block, reading = params.stage("evaluate", EvaluateParams), params.block("machine", Machine).reading
    spreading = params.block("train.propagate", PropagateParams)
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "test")
    answers, given = Labels.read(ingest / "answers.csv"), Labels.read(labels)
    train, test = Embeddings.read(embed / "train"), Embeddings.read(embed / "test")
    about = read_json(model / "model.json")
    device = Device.choose("fp32").device
    net = Classifier.read(model).to(device)
    parents = parents_in(answers, given)
    with write_log(out.parent, "evaluate", {"images": len(test.keys)}):
        split = predict_split(net, manifest, index, "test", parents, block.batch_size, reading)
        confirmed = read_confirmed(labels.parent)
        of_run = about.get("unreached", []), train, test, block, params.seed
        measured = metrics.gather(split, given, answers, *of_run, confirmed)
        tables = train, test, Neighbours.read(graph, len(train.keys)), given, answers, confirmed
        propagated, shares, without = measure(*tables, spreading, device, params.seed)
    guessed = model / "pseudo_labels.csv"
    checked = metrics.of_audit(Labels.read(audit), PseudoLabels.read(guessed) if guessed.is_file() else None)
    predictions = metrics.with_answers(split, answers)
    new = of_new_classes(predictions, given, about.get("discovered", []))
    values = {**measured.values, **propagated, **checked, **new}
    with whole_folder(out) as part:
        write_json(part / "metrics.json", values)
        predictions.write(part / "predictions.csv")
        draws = [(i, f"{draw.top1:.9g}", draw.classes_covered) for i, draw in enumerate(measured.draws)]
        write_csv(part / "draws.csv", ("draw", "top1", "classes_covered"), draws)
        pairs = zip(shares.names, shares.assumed, shares.found, strict=True)
        rows = [(name, f"{assumed:.6g}", f"{found:.6g}") for name, assumed, found in pairs]
        write_csv(part / "class_shares.csv", ("label", "assumed", "found"), rows)
        without.write(part / "left_out.csv")
        (part / "plots").mkdir()
        _plot_confusion(predictions, part / "plots/confusion.png")
    for why, names in metrics.absent(values):
        log.info("absent: %s: %s", first_names(names, 5), why)
    return values


def _plot_confusion(predictions: Predictions, file: Path) -> None:
    """Nothing is drawn where no image has an answer."""
    pairs = [pair for pair in zip(predictions.answers, predictions.predictions, strict=True) if pair[0]]
    if pairs:
        names = sorted({name for pair in pairs for name in pair})
        answers, predicted = (np.array([names.index(pair[side]) for pair in pairs]) for side in (0, 1))
        plots.confusion(file, accuracy.confusion(answers, predicted, len(names)), names)
