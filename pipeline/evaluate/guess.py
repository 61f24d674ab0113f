"""What a trained classifier says of images: of a split, a shard at a time, or of files, a batch at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError
from pipeline.evaluate.levels import Parents
from pipeline.nn.classifier import Classifier
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, decode, read_file
from pipeline.shards.reader import read_shard
from pipeline.shards.remote.download import Reading


@dataclass(frozen=True)
class Guesses:
    """What a model says of images whose keys are sorted, by the name of the readout: class names, and how sure it is.

    `label` is the finest level; a coarser level is read from a head of its own or summed from the finest classes.
    """

    keys: Sequence[str]
    said: Mapping[str, Sequence[str]]
    sure: Mapping[str, Float[ndarray, " n"]]


def guess(
    model: Classifier, pixels: UInt8[Tensor, "n c h w"], batch_size: int
) -> tuple[list[str], Float[ndarray, " n"]]:
    """The class name and its probability for each image, at the finest level."""
    return _names(model.probabilities(pixels, batch_size)["label"], model.classes)


def guess_split(
    model: Classifier,
    manifest: Manifest,
    index: Index,
    split: str,
    parents: Parents,
    batch_size: int,
    reading: Reading | None = None,
) -> Guesses:
    """What the model says of every image of a split, one shard of which is held at a time.

    At a level that `parents` has and the model has not, a class is as probable as the finest classes below it together.
    """
    wanted, found = (manifest.channels, tuple(manifest.size)), (model.channels, tuple(model.size))
    if wanted != found:
        raise ArtifactError(
            f"model.json: expected a model for images of {wanted[0]} channels and size {wanted[1]}, "
            f"as in manifest.json, got one for {found[0]} and {found[1]}; `dvc repro -f train` makes it anew"
        )
    sums = {level: _sums(model.classes, parent) for level, parent in parents.items() if level not in model.head.names}
    keys: list[str] = []
    said: dict[str, list[str]] = {readout: [] for readout in (*model.head.names, *sums)}
    sure: dict[str, list[Float[ndarray, " n"]]] = {readout: [] for readout in said}
    for shard in manifest.splits[split]:
        images = read_shard(manifest, index, split, shard, reading)
        p = model.probabilities(images.pixels, batch_size)
        found_names = {readout: _names(p[readout], names) for readout, names in model.head.names.items()}
        found_names |= {level: _names(p["label"] @ matrix, names) for level, (names, matrix) in sums.items()}
        keys += images.keys
        for readout, (names, confidence) in found_names.items():
            said[readout] += names
            sure[readout].append(confidence)
    order = np.argsort(np.array(keys, dtype=str), kind="stable")
    return Guesses(
        [keys[i] for i in order],
        {readout: [names[i] for i in order] for readout, names in said.items()},
        {readout: np.concatenate(parts)[order] for readout, parts in sure.items()},
    )


def _names(p: Float[Tensor, "n k"], classes: Sequence[str]) -> tuple[list[str], Float[ndarray, " n"]]:
    sure, said = p.max(dim=1)
    return [classes[i] for i in said.tolist()], sure.double().numpy()


def _sums(classes: Sequence[str], parent: Mapping[str, str]) -> tuple[list[str], Float[Tensor, "k g"]]:
    """The coarser classes above these, and 1 where a class is below one; a class without a known one is below none."""
    names = sorted({parent[name] for name in classes if name in parent})
    matrix = torch.zeros(len(classes), len(names))
    for i, name in enumerate(classes):
        if name in parent:
            matrix[i, names.index(parent[name])] = 1
    return names, matrix


def guess_files(
    model: Classifier, files: Iterable[Path], batch_size: int, refuse: Callable[[Path, str], None]
) -> Iterator[tuple[Path, str, float]]:
    """Class name and probability of each file, in their order; `refuse` hears of each that cannot be read, and why."""

    def read(file: Path) -> UInt8[ndarray, "c h w"] | str:
        try:
            return decode(read_file(file), model.channels, model.size)
        except BadImage as error:
            return str(error)

    rest = iter(files)
    while part := list(islice(rest, batch_size)):
        images = {}
        for file, found in zip(part, map_in_order(read, part), strict=True):
            if isinstance(found, str):
                refuse(file, found)
            else:
                images[file] = found
        if images:
            names, sure = guess(model, torch.from_numpy(np.stack(list(images.values()))), batch_size)
            yield from zip(images, names, sure.tolist(), strict=True)
