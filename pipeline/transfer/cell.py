"""A cell of the table: one backbone on one set of images, and what is measured there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import sha256
from pipeline.base.params import Params
from pipeline.base.records import digest_of
from pipeline.embed.run import EmbedParams
from pipeline.embed.run import run as embed
from pipeline.graph.propagation import PropagateParams
from pipeline.graph.run import GraphParams
from pipeline.graph.run import run as graph
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool
from pipeline.study.score import Data, Scorer, train_and_test
from pipeline.train.methods import METHODS, PROPAGATE, Chosen
from pipeline.train.task import TrainParams
from pipeline.transfer import measures, scaling
from pipeline.transfer.backbones import Start
from pipeline.transfer.image_sets import ImageSet
from pipeline.transfer.measures import Figure, Vectors, validation_part

KNN, LOGISTIC, FEW, FINETUNE, SCALING = "knn", "logistic", "few", "finetune", "scaling"
RATES, DECAYS = (1e-4, 1e-3, 1e-2, 1e-1), (0.0, 5e-4)  # that validation images choose from for fine-tuning
AUTO = "auto"  # whose picks are labelled
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is measured in each cell."""

    shots: Sequence[int]
    labels: Sequence[int]  # of selections, whose labels are spread
    seeds: int  # of the selections
    finetune: bool
    scaling: bool

    @property
    def methods(self) -> list[str]:
        """A name for each record of a cell; numbers stand behind a hyphen."""
        few = [f"{FEW}-{shots}" for shots in self.shots]
        spread = [f"{PROPAGATE}-{labels}" for labels in self.labels]
        more = {FINETUNE: self.finetune, SCALING: self.scaling}
        return [KNN, LOGISTIC, *few, *spread, *(name for name, wanted in more.items() if wanted)]

    def digest(self, method: str, params: Params) -> str:
        """Differs between different values that the method depends on, beside vectors, answers and its name."""
        kind, values = method.partition("-")[0], []
        if kind == PROPAGATE:
            select, spread = (
                params.block(f"select.{AUTO}", SELECTORS[AUTO]),
                params.block("train.propagate", PropagateParams),
            )
            search = params.stage("select", SelectParams, SELECTORS).search
            blocks = (select, search, spread)
            prior = [sha256(Path(spread.prior))] if Path(spread.prior).is_file() else []
            values = [self.seeds, prior, *(block.model_dump() for block in blocks)]
        elif kind == FINETUNE:
            common = params.stage("train", TrainParams, (*METHODS, PROPAGATE))
            chosen = Chosen.read(params.with_values(f"train.method={FINETUNE}"))
            values = [common.model_dump(exclude={"method"}), chosen.values]
        return digest_of(method, params.seed, values)


class Cell:
    """Vectors of one backbone for one set of images, in a folder with the folders of the stages that made them."""

    def __init__(self, params: Params, plan: Plan, start: Start, images: ImageSet, folder: Path) -> None:
        """Makes what of the folder is missing. The vectors are `embed`'s, of the backbone alone."""
        self._params, self._plan, self._start, self._images, self._folder = params, plan, start, images, folder
        images.write(folder / "ingest", start.size(images), start.channels_of(images))
        self._backbone = start.made(params, folder / "ingest", folder / "pretrain")
        if not (folder / "embed/train/vectors.npy").is_file():
            embed(_backbone_alone(params), folder / "ingest", self._backbone, folder / "embed")
        if plan.labels and not (folder / "graph").is_dir():
            graph(params, folder / "embed/train", folder / "graph")
        self._data = data = Data.read(folder)
        held = validation_part(data.y, params.seed)
        self._vectors = Vectors(data.train.vectors, data.y, data.test.vectors, data.truth, held)

    def score(self, method: str) -> dict[str, Any]:
        """`figures`: a value and its interval by name; beside them what was chosen by validation images."""
        kind, _, number = method.partition("-")
        seed = self._params.seed
        more: dict[str, float] = {}
        if kind == KNN:
            figures = measures.knn(self._vectors)
        elif kind == LOGISTIC:
            figures, more = measures.logistic(self._vectors, seed)
        elif kind == FEW:
            figures = measures.few_shot(self._vectors, int(number), seed)
        elif kind == PROPAGATE:
            figures = self._propagated(int(number))
        elif kind == SCALING:
            figures = scaling.curve(self._vectors, seed)
        else:
            figures, more = self._finetuned()
        return {"figures": figures, **more}

    def _propagated(self, labels: int) -> dict[str, Figure]:
        """Mean top-1 over selections of so many images by `auto`, whose labels are spread over the graph."""
        data, params = self._data, self._params
        pool = Pool.of(data.train.vectors, params.stage("select", SelectParams, SELECTORS).search)
        auto = params.block(f"select.{AUTO}", SELECTORS[AUTO])
        scorer = Scorer(data, data.neighbours(), params)
        picks = [np.sort(auto.select(pool, labels, seed).rows) for seed in range(self._plan.seeds)]
        shares = [scorer.score(PROPAGATE, rows, seed)["top1"] for seed, rows in enumerate(picks)]
        return {f"{PROPAGATE}_{labels}": Figure.of_mean(np.array(shares))}

    def _finetuned(self) -> tuple[dict[str, Figure], dict[str, float]]:
        """Top-1 of `train.finetune` on all training images, with rate and decay that validation images choose."""
        data, held = self._data, self._vectors.validation
        part = [key for key, out in zip(data.train.keys, held, strict=True) if not out]
        inside = self._folder / "validation"
        size, channels = self._start.size(self._images), self._start.channels_of(self._images)
        self._images.part(part, {*data.train.keys} - {*part}).write(inside / "ingest", size, channels)
        grid = {(rate, decay): self._trained(rate, decay, part, inside) for rate in RATES for decay in DECAYS}
        rate, decay = max(grid, key=lambda values: grid[values])
        share = self._trained(rate, decay, data.train.keys, self._folder)
        chosen = {"rate": rate, "decay": decay, "validation": grid[rate, decay]}
        return {FINETUNE: Figure.of_share(share, len(data.truth))}, chosen

    def _trained(self, rate: float, decay: float, keys: Sequence[str], folder: Path) -> float:
        values = (f"train.method={FINETUNE}", f"train.optim.learning_rate={rate}", f"train.optim.weight_decay={decay}",
                  "train.optim.name=sgd", "train.optim.nesterov=true", "train.optim.schedule=cosine",
                  "train.head=centroids")  # fmt: skip
        labels = {key: self._data.labels[key] for key in keys}
        work = self._folder / "work" / f"{folder.name}-{rate}-{decay}"
        share = train_and_test(
            self._params.with_values(*values), folder, self._backbone, labels, self._data.labels, work
        )
        log.info("%s, rate %g, decay %g: %.1f %%", FINETUNE, rate, decay, 100 * share)
        return share


def _backbone_alone(params: Params) -> Params:
    return params.with_values("embed.views=[backbone]", 'embed.own=""')


def cell_digest(params: Params, start: Start, images: ImageSet) -> str:
    """Differs between different vectors, answers and graphs: what lies in the folder of a cell."""
    block = _backbone_alone(params).stage("embed", EmbedParams).model_dump(exclude={"batch_size"})
    graph_block = params.stage("graph", GraphParams).model_dump()
    own = start.size(images), start.channels_of(images)
    return digest_of(start.digest(params), images.digest, *own, block, graph_block)
