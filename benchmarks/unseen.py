"""How well images of classes without a label are found, on the vectors and answers of a run.

Some classes, drawn at random, are hidden: the selector chooses among the images of the others, and their answers are
the labels. With none hidden, what is shown is a false alarm, unless the picks missed a class by themselves. Means over
seeds; precision and recall are of single images.

    python -m benchmarks.unseen runs/emoji
"""

import logging
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import click
import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.graph.affinity import Affinity
from pipeline.graph.propagation import PropagateParams, propagate
from pipeline.graph.run import GraphParams, nearest_others
from pipeline.graph.unseen import Unseen, unseen
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool
from pipeline.study.score import Data


@dataclass(frozen=True)
class Case:
    """What came of one draw of hidden classes; NaN where it cannot be said."""

    classes: float  # without a label that have as many images as a label stands for
    shown: float  # 1 where some images are
    precision: float  # of the images shown
    recall: float
    groups: float
    count_error: float  # groups less classes
    false_share: float  # images of classes with a label that are shown, of all images


def case(y: Int64[ndarray, " n"], rows: Int64[ndarray, " m"], found: Unseen) -> Case:
    new, counts = ~np.isin(y, y[rows]), np.bincount(y)
    large = counts[np.unique(y[new])] >= len(y) / len(rows) if new.any() else np.empty(0)
    shown, classes = found.rows, float(np.count_nonzero(large))
    right = new[shown].sum()
    return Case(
        classes,
        float(len(shown) > 0),
        right / len(shown) if len(shown) else np.nan,
        right / new.sum() if new.any() else np.nan,
        len(found.groups),
        len(found.groups) - classes,
        (len(shown) - right) / len(y),
    )


@click.command(help=__doc__)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--selector", default="auto")
@click.option("--labels", type=int, multiple=True, default=(20, 40, 100))
@click.option("--hide", type=int, multiple=True, default=(0, 1, 2, 4))
@click.option("--seeds", type=int, default=5)
@click.option("--first-seed", type=int, default=0)
@click.option("--images", type=int, default=10_000, help="The first so many by key, which are random ones, at most.")
def main(
    run: Path, selector: str, labels: Iterable[int], hide: Iterable[int], seeds: int, first_seed: int, images: int
) -> None:
    logging.disable()
    params, data = Params.read(run / "params.yaml"), Data.read(run / "data")
    x, y = np.ascontiguousarray(data.train.vectors[:images]), data.y[:images]
    graph = params.block("graph", GraphParams)
    neighbours = nearest_others(x, graph.neighbours, graph.search)[0]
    affinity = Affinity.of(neighbours, torch.device("cpu"))
    spreading = params.block("train.propagate", PropagateParams)
    search = params.stage("select", SelectParams, SELECTORS).search
    choose = params.block(f"select.{selector}", SELECTORS[selector])
    heads = [field.name.replace("_", " ") for field in fields(Case)]
    click.echo(f"{run.name}: {len(x):,} images, {len(data.names)} classes, picks of {selector}, {seeds} seeds")
    click.echo(f"| labels | hidden | {' | '.join(heads)} |\n|{'---|' * (2 + len(heads))}")
    for budget in labels:
        for hidden in hide:
            cases = []
            for seed in range(first_seed, first_seed + seeds):
                without = rng.stream(seed, "unseen", hidden).choice(len(data.names), hidden, replace=False)
                there = np.flatnonzero(~np.isin(y, without))
                pool = Pool.of(np.ascontiguousarray(x[there]), search)
                rows = np.sort(there[choose.select(pool, budget, seed).rows])
                known, of = np.unique(y[rows], return_inverse=True)
                result = propagate(x, affinity, rows, of, len(known), spreading)
                said = result.best(x)[0][:, 0]
                asked = np.ones(len(rows), bool)
                found = unseen(x, neighbours, affinity, rows, of, asked, said, spreading.alpha)
                cases.append(astuple(case(y, rows, found)))
            table = np.array(cases)
            cells = [
                f"{column[~np.isnan(column)].mean():.2f}" if (~np.isnan(column)).any() else "–" for column in table.T
            ]
            click.echo(f"| {budget} | {hidden} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
