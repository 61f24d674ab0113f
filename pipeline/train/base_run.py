"""Another run's labelled images and model, for a method that learns from images of another domain too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.machine import Machine
from pipeline.nn.classifier import Classifier
from pipeline.train.inputs import Inputs
from pipeline.train.pixels import Pixels
from pipeline.train.streamed import training_images
from pipeline.train.targets import Targets


@dataclass(frozen=True)
class BaseRun:
    """Row `targets.rows[i]` of the images has the class `targets.labels[i, 0]`, as the model numbers them."""

    folder: Path
    targets: Targets  # the finest level alone
    images: Pixels
    model: Classifier  # what they were trained to
    files: Sequence[Path] = ()  # what was read


@contextmanager
def base_run(folder: str | None, like: Manifest, machine: Machine, device: torch.device) -> Iterator[BaseRun | None]:
    """Of a run's folder, with its images open for the block; None for none.

    Raises ParamsError where `train` has not finished there, and ArtifactError where its images are of another size than
    those of `like`, or its model of other classes than its labels.
    """
    if folder is None:
        yield None
        return
    data = Path(folder) / "data"
    model = [data / "train" / f"model.{kind}" for kind in ("json", "safetensors")]
    if not folder or not model[0].is_file():
        raise ParamsError(
            "train.dynamic.base: expected the folder of another run, with labelled images and the model that train "
            f"made of them, found no {model[0] if folder else 'folder, as it is empty'}"
        )
    given = Inputs.read(data / "ingest", data / "label/labels.csv")
    (manifest, index), targets = within(given.manifest, given.index, Path(folder)), given.targets.finest()
    sizes = [" x ".join(map(str, (of.channels, *of.size))) for of in (like, manifest)]
    if sizes[0] != sizes[1]:
        raise ArtifactError(
            f"{folder}: expected images of {sizes[0]} as here (ingest.mode, ingest.size), got {sizes[1]}"
        )
    learnt = Classifier.read(data / "train")
    if learnt.classes != list(targets.classes):
        raise ArtifactError(
            f"{folder}: expected a model of the {len(targets.classes)} classes that its labels have, got one of "
            f"{len(learnt.classes)}"
        )
    resident = machine.resident_mb, machine.window_shards
    with training_images(manifest, index, targets.rows, *resident, device, machine.reading) as images:
        yield BaseRun(Path(folder), targets, images, learnt, (*given.files, *model))


def within(manifest: Manifest, index: Index, folder: Path) -> tuple[Manifest, Index]:
    """Those of a run, whose paths of shards begin in the run's folder, as seen from here."""

    def moved(shard: Shard) -> Shard:
        return shard if shard.remote else replace(shard, path=str(folder / shard.path))

    splits = {name: [*map(moved, shards)] for name, shards in manifest.splits.items()}
    of = {shard.path: moved(shard).path for shards in manifest.splits.values() for shard in shards}
    return replace(manifest, splits=splits), replace(index, shard=[of.get(path, path) for path in index.shard])
