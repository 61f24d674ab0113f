"""How near images of classes without a label lie to each other: six classes of Fashion-MNIST are learnt, four left out.

All of 6,000 training images that are of the six classes have a label. Of 10,000 others, those of the four classes left
out are searched among themselves, by the cosine of the backbone's features and, where there is one, of the projection.
Recall@1 is the share whose nearest image is of their class. Which classes are left out is drawn by the seed; nothing is
pretrained. The test images are not used.

    python -m benchmarks.recall
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.in_memory import PARAMS, learnt
from benchmarks.pretraining import Images
from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Cosine
from pipeline.nn.primitives import unit
from pipeline.views.kinds import ContrastiveView

LEARNT, NUM_CLASSES, TRAIN = 6, 10, 6000
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "proxynca": ("proxynca", {}),
    "trex": ("trex", {}),
}


def recall_at_1(vectors: Float[Tensor, "n d"], classes: Tensor) -> float:
    """The share of the rows whose nearest other row, by cosine, is of their class."""
    similar = unit(vectors) @ unit(vectors).T
    return (classes[similar.fill_diagonal_(-2).argmax(dim=1)] == classes).float().mean().item()


@torch.no_grad()
def vectors(model: Classifier, pixels: Tensor) -> dict[str, Tensor]:
    """Features, and the projection of a head that has one."""
    h = torch.cat([model.eval().backbone(part) for part in pixels.split(500)])
    return {"features": h, **({"projection": model.head.projector(h)} if isinstance(model.head, Cosine) else {})}


@click.command(help=__doc__)
@click.option("--seeds", default=3, show_default=True)
@click.option("--steps", default=300, show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--case", "cases", multiple=True, default=tuple(CASES), type=click.Choice(list(CASES)))
@click.option("--data", type=click.Path(path_type=Path), default="/usr/share/datasets/fashion-mnist", show_default=True)
def main(seeds: int, steps: int, batch_size: int, cases: Iterable[str], data: Path) -> None:
    logging.disable()
    images = Images.read(data, validation=True)
    x, y = images.x[:TRAIN], torch.from_numpy(images.y[:TRAIN])
    click.echo("| | Recall@1 of new classes, % | each seed |\n|---|---|---|")
    view = Params.read(PARAMS, ["train.view.crop_min=0.4"]).block("train.view", ContrastiveView)
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        old = torch.from_numpy(rng.stream(seed, "new classes").permutation(NUM_CLASSES)[:LEARNT].copy())
        rows = torch.isin(y, old).nonzero()[:, 0]
        new = ~torch.isin(torch.from_numpy(images.yt), old)
        pixels, classes = images.xt[new], torch.from_numpy(images.yt)[new]
        found.setdefault("pixels", []).append(100 * recall_at_1(pixels.flatten(1).float(), classes))
        for case in cases:
            name, values = CASES[case]
            options = {"steps": steps, "batch_size": batch_size, "stem_stride": 2, "view": view}
            names = [str(c) for c in range(NUM_CLASSES)]
            model = learnt(name, values, x[rows], torch.arange(len(rows)), y[rows], names, seed=seed, **options)
            for part, z in vectors(model, pixels).items():
                found.setdefault(f"{case}, {part}", []).append(100 * recall_at_1(z, classes))
    for case, values in found.items():
        each = " ".join(f"{value:.1f}" for value in values)
        click.echo(f"| {case} | {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} | {each} |")


if __name__ == "__main__":
    main()
