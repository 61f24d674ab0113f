"""What is left of earlier classes after rounds with new ones: five rounds of digits, two new classes in each.

A round has the images of its two classes, four of them labelled for each, and of earlier rounds the labelled images
alone. Nothing is pretrained. Top-1 of all test images after the last round; a class that the model does not know any
more counts as wrong. Classes are drawn into rounds, and labels among images, by the seed.

    python -m benchmarks.stream
"""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.in_memory import learnt
from pipeline.base import rng
from pipeline.nn.classifier import Classifier
from pipeline.train.method import EmaMethod
from pipeline.train.methods.nncsl import go_on

ROUNDS, LABELS, TEST = 5, 4, 397
SMALL = {"per_class": 4, "num_unlabelled": 64}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "all at once": ("paws", {}),
    "nncsl": ("nncsl", {"stream": True}),
    "nncsl, PAWS by all supports": ("nncsl", {"stream": False}),
    "nncsl without the former model's answers": ("nncsl", {"stream": True, "distill": 0.0}),
    "one round after the other": ("paws", {}),
    "supervised, on the labelled images of all rounds": ("supervised", {}),
}


class Digits:
    """Pixels and classes, and of a seed the rounds' classes and the labelled rows."""

    def __init__(self, seed: int) -> None:
        data, chance = load_digits(), rng.stream(seed, "stream")
        self.pixels = torch.from_numpy(np.round(data.images * 255 / 16).astype(np.uint8))[:, None]
        self.y, order = data.target, rng.stream(0, "stream", "test").permutation(len(data.target))
        self.test, self.train = order[:TEST], order[TEST:]
        self.rounds = chance.permutation(10).reshape(ROUNDS, -1)
        of = [chance.permutation(self.train[self.y[self.train] == c])[:LABELS] for c in range(10)]
        self.labelled = np.concatenate(of)


def after_round(
    data: Digits,
    classes: Sequence[int],
    buffer: Sequence[int],
    case: str,
    steps: int,
    seed: int,
    former: Classifier | None = None,
    **values: Any,
) -> Classifier:
    """The model of a training on all images of `classes`, and on the labelled ones of the classes in `buffer` too."""
    name, changes = CASES[case]
    own = data.train[np.isin(data.y[data.train], classes)]
    labelled = np.sort(data.labelled[np.isin(data.y[data.labelled], [*classes, *buffer])])
    rows = np.union1d(own, labelled)

    def go_on_from_former(method: EmaMethod[Any, Any]) -> None:
        for net in (method.net, method.ema_net) if former is not None else ():
            go_on(net, former)

    return learnt(
        name,
        {**(SMALL if name != "supervised" else {}), **changes, **values},
        data.pixels[rows],
        torch.from_numpy(np.searchsorted(rows, labelled)),
        torch.from_numpy(data.y[labelled]),
        [str(c) for c in range(10)],
        seed=seed,
        before=go_on_from_former,
        steps=steps,
    )


def after_all_rounds(data: Digits, case: str, steps: int, seed: int) -> Classifier:
    if case == "all at once" or CASES[case][0] == "supervised":
        return after_round(data, range(10), (), case, ROUNDS * steps, seed)
    model, seen = None, []
    with tempfile.TemporaryDirectory() as folder:
        for classes in data.rounds.tolist():
            if CASES[case][0] == "nncsl":
                model = after_round(data, classes, seen, case, steps, seed, previous=folder)
                model.write(Path(folder), {})
            else:
                model = after_round(data, classes, (), case, steps, seed, model)
            seen += classes
    assert model is not None
    return model


@click.command(help=__doc__)
@click.option("--seeds", default=3, show_default=True)
@click.option("--steps", default=60, show_default=True, help="In each round.")
@click.option("--case", "cases", multiple=True, default=tuple(CASES), type=click.Choice(list(CASES)))
def main(seeds: int, steps: int, cases: Iterable[str]) -> None:
    logging.disable()
    click.echo("| | top-1 % | each seed |\n|---|---|---|")
    for case in cases:
        found = []
        for seed in range(seeds):
            data = Digits(seed)
            p = after_all_rounds(data, case, steps, seed).probabilities(data.pixels[data.test], 500)["label"]
            found.append(100 * (p.argmax(dim=1).numpy() == data.y[data.test]).mean())
        each = " ".join(f"{value:.1f}" for value in found)
        click.echo(f"| {case} | {np.mean(found):.1f} ± {np.std(found, ddof=1):.1f} | {each} |")


if __name__ == "__main__":
    main()
