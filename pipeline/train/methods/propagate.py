"""Propagate: labels spread through the graph of all images; no network is trained (Zhou et al. 2004).

docs/methods/train-propagation.md has the formulas, what was changed and what was measured.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from pipeline.base.files import sha256
from pipeline.graph.head import head_of
from pipeline.graph.propagation import PropagateParams, Propagation
from pipeline.nn.classifier import Classifier, read_backbone
from pipeline.nn.device import Device
from pipeline.nn.embedder import Embedder
from pipeline.parallel.work import resumable
from pipeline.train.inputs import Inputs
from pipeline.train.spreading import Spreading
from pipeline.vectors.geometry import unit

log = logging.getLogger(__name__)


def run(block: PropagateParams, given: Inputs, backbone: Path, embed: Path, graph: Path, out: Path) -> None:
    """Writes the model, pseudo-labels and an empty curve. Of several processes the first does all the work."""
    targets, spreading = given.targets.finest(), Spreading.read(block, given, embed, graph)
    x, neighbours, files = spreading.x, spreading.neighbours, [*given.files, *spreading.files]
    values = [spreading.params.model_dump(), targets.names]
    chosen = Device.choose("fp32")
    device, about = chosen.device, {"images": len(x), **chosen.about()}
    with resumable("train", out, params=values, inputs=files, log=about) as (_, folder):
        if folder is None:
            return
        result = spreading.spread(targets, device)
        embedder = Embedder.read(embed, read_backbone(backbone))
        pixels = unit(x[:, : embedder.dim])  # new images have no vectors of the user's own
        known = result if embedder.dim == x.shape[1] else replace(spreading, x=pixels).spread(targets, device)
        head = head_of(known, pixels, targets.classes, neighbours.rows.shape[1])
        numbers, p = result.best(x)
        rest = np.setdiff1d(np.arange(len(numbers)), targets.rows.numpy())
        reached = result.reached[rest]
        if not reached.all():
            log.info("no label reaches %d images: their pseudo-label is empty", (~reached).sum())
        confidence, right = known.of_left_out()
        facts = {
            "method": "propagate",
            "params": {"propagate": block.model_dump()},
            "left_out": {"confidence": confidence.round(6).tolist(), "right": right.tolist()},
            "unreached": targets.unlabelled_classes,
            "labels_sha256": sha256(given.labels),
            "unreached_images": int((~result.reached).sum()),
            "share_of_spreading": result.share,
            "temperature": result.temperature,
            "class_shares": class_shares(result, numbers[:, 0], targets.classes),
        }
        Classifier(embedder, head, given.manifest.size).write(folder, facts)
        write_rows(folder / "curve.csv", [])
        found = Ranking.of(numbers[rest], np.where(reached[:, None], p[rest], 0), targets.classes)
        names = [row if seen else [] for row, seen in zip(found.names, reached, strict=True)]
        PseudoLabels(given.index.keys_of(rest), Ranking(names, found.p)).write(folder / "pseudo_labels.csv")


def class_shares(result: Propagation, number: ndarray, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each class the share of the images that was assumed, and the share that was predicted."""
    found = np.bincount(number, minlength=len(classes)) / len(number)
    shares = np.stack([result.prior, found], axis=1).round(6).tolist()
    return {name: {"assumed": pair[0], "predicted": pair[1]} for name, pair in zip(classes, shares, strict=True)}
