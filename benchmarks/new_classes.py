"""How well `gcd` and `promptcal` find classes without a label, beside k-means on the vectors that they start from.

Some classes, drawn at random, have labels, the others none; all images without a label are measured. Each cluster
stands for the class that fits best (Hungarian). `k-means` and `semi` (labelled images stay with their class) take the
pretrained backbone's features. All are told how many classes there are; `classes` is what would be estimated.
A case that has its record in RUN/data/new_classes already is not computed again. Ends in the table of
docs/results/new_classes.md, with Student's 95 % interval of the differences to `k-means`, paired by seed.

    python -m benchmarks.new_classes runs/fashion --images 5000
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy import stats
from torch import Tensor

from benchmarks.in_memory import result_of
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.base.records import Record, Work, digest_of, measure
from pipeline.evaluate.metrics import finest
from pipeline.label.guess import A_CLASS
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import read_backbone
from pipeline.nn.clusters import moved
from pipeline.nn.primitives import unit
from pipeline.nn.semi_kmeans import estimated_classes, semi_kmeans
from pipeline.shards.reader import load
from pipeline.train.methods import METHODS, PROPAGATE, Chosen
from pipeline.train.pixels import Resident, for_all_images
from pipeline.train.run import predict
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams
from pipeline.vectors.matching import matched

HOME = Path(__file__).parent.parent
TRAINED = ("gcd", "promptcal")
ARMS = ("k-means", "semi", *TRAINED)
BATCH = ("per_class=4", "num_unlabelled=64")
VIEW = "train.view.crop_min=0.4"
PARTS = ("all", "old", "new")


@dataclass(frozen=True)
class Draw:
    """Which classes have labels, and which images of them, by a seed."""

    known: int
    per_class: int
    seed: int


@dataclass(frozen=True)
class Case:
    """The images without a label, and of all images the class, 0 to `known` - 1 for those with labels, or -1."""

    rest: Int64[ndarray, " u"]
    known: Int64[Tensor, " n"]
    names: tuple[str, ...]


class Bench:
    """Images and answers of a run, and what each arm makes of a draw."""

    def __init__(self, run: Path, images: int, params: Params) -> None:
        os.chdir(run)  # paths of shards are relative to it
        ingest = Path("data/ingest")
        manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
        answers = finest(Labels.read(ingest / "answers.csv"))
        self.names, self.y = np.unique([answers[key] for key in index.key[:images]], return_inverse=True)
        self.images = Resident(load(manifest, index, "train", "train").pixels[:images])
        counts = [f"train.{arm}.num_classes={len(self.names)}" for arm in TRAINED]
        self.params, self.size = params.with_values(*counts), manifest.size
        self.temperature = float(params.lookup("train.gcd.supervised_temperature"))
        self.features = unit_features(read_backbone(Path("data/pretrain")), self.images)

    def draw(self, draw: Draw) -> Case:
        chance = rng.stream(draw.seed, "new classes")
        old = np.sort(chance.choice(len(self.names), draw.known, replace=False))
        rows = [chance.choice(np.flatnonzero(self.y == c), draw.per_class, replace=False) for c in old]
        known = torch.full((len(self.y),), -1)
        for number, some in enumerate(rows):
            known[some] = number
        rest = np.setdiff1d(np.arange(len(self.y)), np.concatenate(rows))
        return Case(rest, known, tuple(self.names[old].tolist()))

    def score(self, case: Case, draw: Draw, arm: str) -> dict[str, Any]:
        """What share is right, and how many classes the estimate says."""
        x, k = self.features, len(self.names)
        chance = torch.Generator().manual_seed(draw.seed)
        if arm in TRAINED:
            x, found = self.trained(case, draw.seed, arm)
        else:
            found = semi_kmeans(x, case.known if arm == "semi" else torch.full_like(case.known, -1), k, chance).labels
        right = matched(self.y[case.rest], found.numpy()[case.rest])
        old = np.isin(self.names[self.y[case.rest]], case.names)
        shares = {"all": right, "old": right[old], "new": right[~old]}
        shown = {} if arm == "k-means" else self.shown(x, found, case, draw.known)
        classes = estimated_classes(x, case.known, chance)
        return {**{name: float(part.mean()) for name, part in shares.items()}, "classes": classes, **shown}

    def shown(self, x: Float[Tensor, "n f"], found: Int64[Tensor, " n"], case: Case, known: int) -> dict[str, Any]:
        """Of the images of each new cluster that the label page shows: what share is of the class that most are of.

        `named` is how many classes without a label are that class of a cluster.
        """
        count = int(found.max()) + 1
        p = (x @ moved(x, found, x.new_zeros(count, x.shape[1])).T / self.temperature).softmax(dim=1)
        p[case.known >= 0] = 0
        groups = [(p[:, c] * (found == c)).topk(A_CLASS).indices.numpy() for c in range(known, count)]
        counts = [np.bincount(self.y[group]) for group in groups]
        named = {str(self.names[one.argmax()]) for one in counts} - {*case.names}
        return {"pure": float(np.mean([one.max() / A_CLASS for one in counts])), "named": len(named)}

    def trained(self, case: Case, seed: int, arm: str) -> tuple[Float[Tensor, "n f"], Int64[Tensor, " n"]]:
        """The features of all images after the training, and the class that the model says each is of."""
        rows = (case.known >= 0).nonzero()[:, 0]
        targets = Targets({"label": case.names}, rows, case.known[rows][:, None])
        params = self.params.with_values(f"train.method={arm}")
        common = params.stage("train", TrainParams, (*METHODS, PROPAGATE))
        torch.manual_seed(rng.number(seed, "train", "init"))
        task = Task(targets, len(self.y), self.size, common, seed)
        method = Chosen.read(params).build(read_backbone(Path("data/pretrain")), task)
        model = result_of(method, self.images, common, seed)
        found = torch.from_numpy(predict(model, self.images)[0][:, 0])
        return unit_features(model.backbone, self.images), found


@torch.no_grad()
def unit_features(net: Backbone, images: Resident) -> Float[Tensor, "n f"]:
    """Of all images, by the network in eval mode."""
    net.eval()
    return unit(for_all_images(images, 500, net.dim, lambda pixels: net(pixels).float()))


def table(records: list[Record]) -> list[str]:
    """Means over seeds, and the differences to k-means."""
    heads = (
        "",
        *PARTS,
        "new, to k-means (95 %)",
        "new, each seed",
        "classes estimated",
        "shown, of one class",
        "named",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    of = {arm: {r["seed"]: r for r in records if r["method"] == arm} for arm in ARMS}
    for arm, found in of.items():
        means = [f"{100 * np.mean([r[part] for r in found.values()]):.1f}" for part in PARTS]
        new = [100 * r["new"] for r in found.values()]
        gap = np.array([100 * (r["new"] - of["k-means"][seed]["new"]) for seed, r in found.items()])
        reach = stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap) if len(gap) > 1 else np.nan
        said = "" if arm == "k-means" else f"{gap.mean():+.1f} ({gap.mean() - reach:+.1f} to {gap.mean() + reach:+.1f})"
        each, classes = (" ".join(f"{v:.0f}" for v in vs) for vs in (new, [r["classes"] for r in found.values()]))
        shown = np.mean([[r["pure"], r["named"]] for r in found.values()], axis=0) if arm != "k-means" else None
        page = "| |" if shown is None else f"{100 * shown[0]:.0f} | {shown[1]:.1f} |"
        lines.append(f"| {arm} | {' | '.join(means)} | {said} | {each} | {classes} | {page}")
    return lines


@click.command(help=__doc__)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", type=int, default=10_000, help="The first so many by key, which are random ones, at most.")
@click.option("--known", type=int, default=6, help="Classes with labels.")
@click.option("--per-class", type=int, default=10, help="Labels of each of them.")
@click.option("--seeds", type=int, default=5)
@click.option("--first-seed", type=int, default=0)
@click.option("--steps", type=int, default=120)
@click.option("--rate", type=float, default=0.03, help="Of learning; the authors have 0.1 for one block of a ViT.")
def main(
    run: Path, images: int, known: int, per_class: int, seeds: int, first_seed: int, steps: int, rate: float
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    optim = f"train.optim.learning_rate={rate}", "train.optim.schedule=cosine"
    batches = [f"train.{arm}.{item}" for arm in TRAINED for item in BATCH]
    params = Params.read(HOME / "params.yaml", [f"train.steps={steps}", VIEW, *optim, *batches])
    bench = Bench(run.resolve(), images, params)
    values = digest_of(len(bench.y), bench.params.tree["train"], bench.features.double().sum().item())
    work = Work[Draw, Case](
        share=bench.draw,
        shared="draw_seconds",
        score=bench.score,
        name=lambda draw, arm: f"{draw.known}-{draw.per_class}-{draw.seed}-{arm}-{values}.json",
        fields=(*PARTS, "classes"),
        kinds=lambda _, arm: ("draw", arm),
        say=lambda draw, arm, record: f"seed {draw.seed}, {arm}: new {100 * record['new']:.1f} %",
    )
    draws = [Draw(known, per_class, seed) for seed in range(first_seed, first_seed + seeds)]
    records = measure(draws, ARMS, work, Path("data/new_classes"))
    click.echo(
        f"{run.name}: {len(bench.y):,} images, {known} of {len(bench.names)} classes with {per_class} labels each"
    )
    for line in table(records):
        click.echo(line)


if __name__ == "__main__":
    main()
