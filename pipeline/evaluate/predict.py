"""Predictions of a trained classifier: for a split, a shard at a time, or for files, a batch at a time."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from tqdm import tqdm

from pipeline.artifacts.predictions import COLUMNS, Ranking, top
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


def predict_files(model: Classifier, files: Sequence[Path], root: Path, out: Path, batch_size: int) -> int:
    """Writes path (below `root`) and most probable classes of each file; the number of those that cannot be read.

    Each of these is named on stderr, with the reason. Raises SourceError where no file can be read.
    """
    bad, batch_size = 0, model.images_a_pass(batch_size)

    def read(file: Path) -> UInt8[ndarray, "c h w"] | str:
        try:
            return decode(read_file(file), model.channels, model.size)
        except BadImage as error:
            return str(error)

    def rows() -> Iterator[list[str]]:
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
                    ranking = Ranking.of(*top(p.numpy()), model.classes)
                    yield from ([path, *cells] for path, cells in zip(images, ranking.cells(), strict=True))
                bar.update(len(part))
        if bad == len(files):
            raise SourceError(f"{root}: expected images, none of the {len(files)} files can be read")

    write_csv(out, ("path", *COLUMNS), rows())
    return bad
