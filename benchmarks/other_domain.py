"""What labelled digits teach about Fashion-MNIST, whose images have no label while features are learnt.

A network is trained on scikit-learn's digits, made as large as Fashion-MNIST's images, and goes on by `dynamic` with
6,000 training images of Fashion-MNIST. The backbone's features are measured on 10,000 others, in 600 episodes: a
logistic regression (C = 1) on 1 or 5 labelled images of each of 5 classes names 15 more of each. Nothing else is
pretrained; the test images are not used.

    python -m benchmarks.other_domain
"""

import logging
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.in_memory import learnt
from benchmarks.pretraining import Images
from pipeline.base import rng
from pipeline.nn.classifier import Classifier
from pipeline.train.base_run import BaseRun
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets

TRAIN, SIDE, WAYS, QUERIES, EPISODES, SHOTS = 6000, 28, 5, 15, 600, (1, 5)
NAMES = [str(c) for c in range(10)]
MOMENTA = {"frozen teacher": 1.0, "dynamic": 0.99}  # of the teacher
CASES = ("pixels", "digits alone", *MOMENTA)


def digits() -> tuple[UInt8[Tensor, "n 1 h w"], Int64[Tensor, " n"]]:
    """Pixels and classes."""
    data = load_digits()
    pixels = torch.from_numpy(data.images).float()[:, None] * 255 / 16
    large = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear")
    return large.round().to(torch.uint8), torch.from_numpy(data.target)


@torch.no_grad()
def features(model: Classifier, pixels: Tensor) -> Float[ndarray, "n f"]:
    return torch.cat([model.eval().backbone(part) for part in pixels.split(500)]).numpy()


def few_shot(x: Float[ndarray, "n f"], y: Int64[ndarray, " n"], shots: int, seed: int) -> float:
    """Mean accuracy of the episodes, in per cent."""
    chance, right = rng.stream(seed, "episodes", shots), []
    of = [np.flatnonzero(y == c) for c in range(len(NAMES))]
    for _ in range(EPISODES):
        classes = chance.permutation(len(NAMES))[:WAYS]
        rows = np.stack([chance.choice(of[c], shots + QUERIES, replace=False) for c in classes])
        known, asked = rows[:, :shots].ravel(), rows[:, shots:].ravel()
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(x[known], y[known])
        right.append((fitted.predict(x[asked]) == y[asked]).mean())
    return 100 * float(np.mean(right))


@click.command(help=__doc__)
@click.option("--seeds", default=3, show_default=True)
@click.option("--steps", default=150, show_default=True, help="On digits alone, and again with both.")
@click.option("--data", type=click.Path(path_type=Path), default="/usr/share/datasets/fashion-mnist", show_default=True)
def main(seeds: int, steps: int, data: Path) -> None:
    logging.disable()
    images, (base_x, base_y) = Images.read(data, validation=True), digits()
    own, rows = images.x[:TRAIN], torch.arange(len(base_y))
    common = {"steps": steps, "stem_stride": 2}
    found: dict[str, list[list[float]]] = {case: [] for case in CASES}
    for seed in range(seeds):
        start = learnt("supervised", {}, base_x, rows, base_y, NAMES, seed=seed, batch_size=32, **common)
        base = BaseRun(Path(), Targets({"label": NAMES}, rows, base_y[:, None]), Resident(base_x), start)
        models = {"digits alone": start}
        one = torch.zeros(1, dtype=torch.long)  # some label, which no feature depends on
        for case, momentum in MOMENTA.items():
            values = {"teacher_momentum": momentum, "ratio": 2}
            options = {"seed": seed, "batch_size": 16, "base": base, **common}
            models[case] = learnt("dynamic", values, own, one, one, NAMES, **options)
        vectors = {case: features(model, images.xt) for case, model in models.items()}
        vectors["pixels"] = images.xt.flatten(1).numpy() / 255
        for case in CASES:
            found[case].append([few_shot(vectors[case], images.yt, shots, seed) for shots in SHOTS])
            click.echo(f"seed {seed}, {case}: {found[case][-1]}", err=True)
    click.echo(f"| features of | {' | '.join(f'{k} a class | each seed' for k in SHOTS)} |\n|---|---|---|---|---|")
    for case, values in found.items():
        by_shots = np.transpose(values)
        cells = [f"{v.mean():.1f} ± {v.std(ddof=1):.1f} | {' '.join(f'{a:.1f}' for a in v)}" for v in by_shots]
        click.echo(f"| {case} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
