"""Predictions of a trained classifier: for a split, a shard at a time, or for files, a batch at a time."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError, SourceError
from pipeline.base.files import write_csv
from pipeline.base.machine import Reading
from pipeline.evaluate.levels import Parents, class_sums
from pipeline.nn.classifier import Classifier
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, decode, read_file
from pipeline.shards.reader import read_shard


@dataclass(frozen=True)
class SplitPredictions:
    """For each readout of a model, the predicted class of each image of a split, and its probability.

    `label` is the finest level; a coarser level has a head of its own or is summed from the finest classes.
    """

    keys: Sequence[str]  # sorted
    predictions: Mapping[str, Sequence[str]]
    confidence: Mapping[str, Float[ndarray, " n"]]


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

    At a level that `parents` has and the model has not, a class is as probable as the finest classes below it together.
    """
    wanted, given = (manifest.channels, tuple(manifest.size)), (model.channels, tuple(model.size))
    if wanted != given:
        raise ArtifactError(
            f"model.json: expected a model for images of {wanted[0]} channels and size {wanted[1]}, "
            f"as in manifest.json, got one for {given[0]} and {given[1]}; `dvc repro -f train` makes it anew"
        )
    sums = {
        level: class_sums(model.classes, parent) for level, parent in parents.items() if level not in model.head.names
    }
    keys: list[str] = []
    predictions: dict[str, list[str]] = {readout: [] for readout in (*model.head.names, *sums)}
    confidence: dict[str, list[Float[ndarray, " n"]]] = {readout: [] for readout in predictions}
    for shard in manifest.splits[split]:
        images = read_shard(manifest, index, split, shard, reading)
        p = model.probabilities(images.pixels, batch_size)
        keys += images.keys
        found = {readout: _most_probable(p[readout], names) for readout, names in model.head.names.items()}
        found |= {level: _most_probable(p["label"] @ matrix, names) for level, (names, matrix) in sums.items()}
        for readout, (names, probability) in found.items():
            predictions[readout] += names
            confidence[readout].append(probability)
    order = np.argsort(np.array(keys, dtype=str), kind="stable")
    return SplitPredictions(
        [keys[i] for i in order],
        {readout: [names[i] for i in order] for readout, names in predictions.items()},
        {readout: np.concatenate(parts)[order] for readout, parts in confidence.items()},
    )


def _most_probable(p: Float[Tensor, "n k"], classes: Sequence[str]) -> tuple[list[str], Float[ndarray, " n"]]:
    confidence, number = p.max(dim=1)
    return [classes[i] for i in number.tolist()], confidence.double().numpy()


def predict_files(model: Classifier, files: Sequence[Path], root: Path, out: Path, batch_size: int) -> int:
    """Writes path (below `root`), prediction and confidence of each file; the number of those that cannot be read.

    Each of these is named on stderr, with the reason. Raises SourceError where no file can be read.
    """
    bad = 0

    def read(file: Path) -> UInt8[ndarray, "c h w"] | str:
        try:
            return decode(read_file(file), model.channels, model.size)
        except BadImage as error:
            return str(error)

    def rows() -> Iterator[tuple[str, str, str]]:
        nonlocal bad
        rest = iter(files)
        with tqdm(total=len(files), desc="predict", disable=None, unit=" images") as bar:
            while part := list(islice(rest, batch_size)):
                images = {}
                for file, pixels in zip(part, map_in_order(read, part), strict=True):
                    if isinstance(pixels, str):
                        bad += 1
                        tqdm.write(f"{file}: {pixels}", file=sys.stderr)
                    else:
                        images[file.relative_to(root).as_posix()] = pixels
                if images:
                    p = model.probabilities(torch.from_numpy(np.stack(list(images.values()))), batch_size)["label"]
                    names, confidence = _most_probable(p, model.classes)
                    yield from zip(images, names, (f"{value:.9g}" for value in confidence), strict=True)
                bar.update(len(part))
        if bad == len(files):
            raise SourceError(f"{root}: expected images, none of the {len(files)} files can be read")

    write_csv(out, ("path", "prediction", "confidence"), rows())
    return bad
