"""Predictions of a trained classifier for a split, a shard at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.predictions import Ranking, top
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError
from pipeline.base.machine import Reading
from pipeline.evaluate.levels import Parents, class_sums
from pipeline.nn.classifier import Classifier
from pipeline.shards.reader import read_shard


@dataclass(frozen=True)
class SplitPredictions:
    """For each readout of a model, the most probable classes of each image of a split.

    `label` is the finest level; a coarser level has a head of its own or is summed from the finest classes.
    """

    keys: Sequence[str]  # sorted
    ranking: Mapping[str, Ranking]


def predict_split(
    model: Classifier,
    manifest: Manifest,
    index: Index,
    split: str,
    parents: Parents,
    batch_size: int,
    reading: Reading | None = None,
) -> SplitPredictions:
    """Predictions for every image of a split; the pixels of one shard are in memory at a time.

    At a level that `parents` has and the model has not, a class is as probable as the finest classes below it together;
    a level without a class above the model's is left out. What is above a class that the model found is not known.
    """
    wanted, given = (manifest.channels, tuple(manifest.size)), (model.channels, tuple(model.size))
    if wanted != given:
        raise ArtifactError(
            f"model.json: expected a model for images of {wanted[0]} channels and size {wanted[1]}, "
            f"as in manifest.json, got one for {given[0]} and {given[1]}; `dvc repro -f train` makes it anew"
        )
    above = {level: class_sums(model.classes, parent) for level, parent in parents.items()}
    sums = {level: sums for level, sums in above.items() if sums[0] and level not in model.head.names}
    names = {**model.head.names, **{level: names for level, (names, _) in sums.items()}}
    batch_size = model.images_a_pass(batch_size)
    keys: list[str] = []
    found = {readout: [top(np.empty((0, len(classes)), np.float32))] for readout, classes in names.items()}
    for shard in manifest.splits[split]:
        images = read_shard(manifest, index, split, shard, reading)
        p = model.probabilities(images.pixels, batch_size)
        keys += images.keys
        p |= {level: p["label"] @ matrix for level, (_, matrix) in sums.items()}
        for readout, parts in found.items():
            parts.append(top(p[readout].numpy()))
    order = np.argsort(np.array(keys, dtype=str), kind="stable")
    ranking = {}
    for readout, parts in found.items():
        numbers, probabilities = (np.concatenate(part)[order] for part in zip(*parts, strict=True))
        ranking[readout] = Ranking.of(numbers, probabilities, names[readout])
    return SplitPredictions([keys[i] for i in order], ranking)
