"""Trains on the answers of some images and measures the result on the test images, as the chain would."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError
from pipeline.base.files import sha256
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.base.records import digest_of
from pipeline.evaluate.accuracy import covered, top1
from pipeline.evaluate.metrics import encode, finest
from pipeline.evaluate.predict import predict_split
from pipeline.evaluate.probes import linear_probe
from pipeline.evaluate.propagated import predictions
from pipeline.graph.affinity import Affinity
from pipeline.graph.head import head_of
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import PropagateParams, Propagation, propagate
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.train.methods import METHODS, PROPAGATE, Chosen
from pipeline.train.run import run as train
from pipeline.train.task import TrainParams

PROBE = "probe"  # a logistic regression on the vectors
BATCH_SIZE = 500  # of predictions


@dataclass(frozen=True)
class Data:
    """The vectors of a run and the answer of each image, as class numbers; every image has one."""

    folder: Path  # holds the folders of the stages
    train: Embeddings
    test: Embeddings
    y: Int64[ndarray, " n"]
    truth: Int64[ndarray, " t"]
    names: tuple[str, ...]
    labels: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Data":
        """Raises ArtifactError where images have no answer: a study asks for the label of any of them."""
        train, test = (Embeddings.read(folder / "embed" / split) for split in ("train", "test"))
        file = folder / "ingest/answers.csv"
        answer = finest(Labels.read(file))
        lacking = [key for key in (*train.keys, *test.keys) if key not in answer]
        if lacking or not test.keys:
            of = f"{len(lacking):,} of {len(train.keys) + len(test.keys):,} have none" if lacking else "no test image"
            raise ArtifactError(
                f"{file}: expected the answer of every image, as a study asks for any of them; {of}: put them into "
                "answers.csv beside the images, or study a data set that has them, as `make demo`"
            )
        names = tuple(sorted(set(answer.values())))
        number = {name: i for i, name in enumerate(names)}
        y, truth = (encode(part.keys, answer, number) for part in (train, test))
        return cls(folder, train, test, y, truth, names, answer)

    def neighbours(self) -> Neighbours:
        """Those that `graph` found of the images to pick from."""
        return Neighbours.read(self.folder / "graph", len(self.train.keys))

    @property
    def digest(self) -> str:
        """Differs between different images, vectors and answers."""
        parts = (self.train.keys, self.test.keys, self.y.tolist(), self.truth.tolist())
        return digest_of(*parts, *(sha256(self.folder / f"embed/{split}/vectors.npy") for split in ("train", "test")))


class Spread(NamedTuple):
    """What propagation made of some labels; class i of it is class `known[i]` of the data."""

    result: Propagation
    known: Int64[ndarray, " k"]


class Scorer:
    """Accuracy on the test images after training on the answers of some rows."""

    def __init__(self, data: Data, neighbours: Neighbours, params: Params) -> None:
        self._data, self._neighbours, self._params = data, neighbours, params
        self._device = Device.choose("fp32").device
        self._affinity = Affinity.of(neighbours, self._device)
        self._spreading = params.block("train.propagate", PropagateParams)

    def score(self, method: str, rows: Int64[ndarray, " b"], seed: int) -> dict[str, Any]:
        """`top1` and `classes`, the number of classes with a label; of `propagate` its estimate and the truth too."""
        classes = {"classes": covered(self._data.y[rows])}
        if method == PROBE:
            return {"top1": self._probe(rows), **classes}
        if method == PROPAGATE:
            return {**self.of_spread(rows, self.spread(rows)), **classes}
        return {"top1": self._trained(method, rows, seed), **classes}

    def _probe(self, rows: Int64[ndarray, " b"]) -> float:
        x, test = self._data.train.vectors, self._data.test.vectors
        return top1(self._data.truth, linear_probe(x[rows], self._data.y[rows], test))

    def spread(self, rows: Int64[ndarray, " b"]) -> Spread:
        """The labels of the rows, carried to all images; who labels knows no class but theirs."""
        known, labels = np.unique(self._data.y[rows], return_inverse=True)
        names = [self._data.names[i] for i in known]
        shares = read_shares(self._spreading.prior, names)
        x = self._data.train.vectors
        return Spread(propagate(x, self._affinity, rows, labels, len(names), self._spreading, shares), known)

    def of_spread(self, rows: Int64[ndarray, " b"], found: Spread) -> dict[str, float]:
        """Accuracy on the test images and on those without a label, if any, with what was estimated of the second."""
        data, (result, known) = self._data, found
        names = [data.names[i] for i in known]
        head = head_of(result, data.train.vectors, names, self._neighbours.rows.shape[1]).to(self._device)
        test = known[predictions(head, data.test.vectors, self._device)]
        rest = np.setdiff1d(np.arange(len(data.y)), rows)
        said = {"estimated": result.estimate.top1, "low": result.estimate.low, "high": result.estimate.high}
        of_rest = known[result.best(data.train.vectors)[0][rest, 0]]
        unlabelled = {"unlabelled_top1": top1(data.y[rest], of_rest), **said} if len(rest) else {}
        return {"top1": top1(data.truth, test), **unlabelled}

    def _trained(self, method: str, rows: Int64[ndarray, " b"], seed: int) -> float:
        """By the stage's own code, in a folder of its own: what was interrupted goes on there."""
        data, params = self._data, self._params.with_values(f"train.method={method}", f"seed={seed}")
        keys = [data.train.keys[row] for row in rows.tolist()]
        values = values_of(method, self._params, data.folder)
        work = data.folder / "study/work" / f"{method}-{digest_of(keys, seed, values)}"
        labels = {key: data.labels[key] for key in keys}
        return train_and_test(params, data.folder, data.folder / "pretrain", labels, data.labels, work)


def train_and_test(
    params: Params,
    folder: Path,
    backbone: Path,
    labels: Mapping[str, str],
    answers: Mapping[str, str],
    work: Path,
) -> float:
    """Top-1 on a run's test images after `train` on these labels; see `train_and_predict`."""
    said = train_and_predict(params, folder, backbone, labels, work)
    return float(np.mean([answers[key] == name for key, name in said.items()]))


def train_and_predict(
    params: Params, folder: Path, backbone: Path, labels: Mapping[str, str], work: Path
) -> dict[str, str]:
    """The class of each test image of a run by `train` on these labels, in a folder `work` of its own.

    What was interrupted goes on there; it is removed in the end.
    """
    file = work / "label/labels.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    Labels(("label",), {key: (name,) for key, name in labels.items()}).write(file)
    of_run = {name: folder / name for name in ("ingest", "embed", "graph")}
    train(params, **of_run, labels=file, backbone=backbone, out=work / "train", save_seconds=30)
    manifest = Manifest.read(folder / "ingest/manifest.json")
    index = Index.read(folder / "ingest/index.parquet", "test")
    model = Classifier.read(work / "train").to(Device.choose("fp32").device)
    split = predict_split(model, manifest, index, "test", {}, BATCH_SIZE)
    shutil.rmtree(work)
    return dict(zip(split.keys, split.ranking["label"].best, strict=True))


def values_of(method: str, params: Params, folder: Path) -> str:
    """A digest of all that a score of the method depends on, beside images, vectors, answers and picks."""
    spreading = params.block("train.propagate", PropagateParams)
    graph = [sha256(file) for file in sorted((folder / "graph").iterdir())]
    if Path(spreading.prior).is_file():
        graph.append(sha256(Path(spreading.prior)))
    if method == PROBE:
        return digest_of(method)
    if method == PROPAGATE:
        return digest_of(method, spreading.model_dump(), graph)
    files = [*sorted((folder / "pretrain").iterdir()), folder / "ingest/manifest.json"]
    left = [sha256(file) for file in files if file.is_file()]
    return digest_of(*training_values(method, params), spreading.model_dump(), graph, left)


def training_values(method: str, params: Params) -> tuple[object, ...]:
    """What training by a method reads of the params, but for the graph's; of a folder that they name, its model."""
    chosen = Chosen.read(params.with_values(f"train.method={method}"))
    common = params.stage("train", TrainParams, (*METHODS, PROPAGATE)).model_dump(exclude={"method"})
    named = (value for block in chosen.values.values() for value in block.values() if isinstance(value, str) and value)
    places = [Path(folder) / place for folder in named for place in (".", "data/train")]  # of a model, of a run
    models = [sha256(file) for place in places for file in sorted(place.glob("model.*"))]
    return common, chosen.values, models, params.block("machine", Machine).precision
