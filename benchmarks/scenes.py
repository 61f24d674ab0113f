"""BYOL beside ORL on scenes of four things: Fashion-MNIST's clothes at 14 pixels, one in each quarter of 32 pixels.

5,000 scenes of the first 20,000 training images, each a piece of one scene, train the small ResNet by params.yaml and
presets/fashion-mnist/laptop.yaml. Scored are things alone: quarters of 2,000 scenes of the next 8,000 training images,
by 20 nearest neighbours and a logistic regression that learn from the quarters of the scenes in training. A view is an
image, or a box of one, that the student sees. Each result is a line of <out>/records.jsonl.

    python -m benchmarks.scenes
"""

import json
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.pretraining import settings
from pipeline.base.params import overlay
from pipeline.embed.run import embed
from pipeline.evaluate.probes import nearest_vote
from pipeline.fit import fit
from pipeline.ingest.sources.fashion_mnist import read_idx
from pipeline.nn.backbones import Backbone
from pipeline.nn.device import Device
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.recipe import Recipe

SIDE, THING, TRAIN, TEST, NEIGHBOURS = 32, 14, 5_000, 2_000, 20
CASES = "random weights", "byol", "orl"


def scenes(images: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
    """Of each four images one scene, uint8; a thing lies anywhere in its quarter."""
    small = F.interpolate(images[:, None].float(), (THING, THING), mode="bilinear", antialias=True).round().byte()
    half = SIDE // 2
    out = torch.zeros(len(images) // 4, 1, SIDE, SIDE, dtype=torch.uint8)
    for i, thing in enumerate(small):
        down, left = chance.integers(0, half - THING + 1, 2) + half * np.array(divmod(i % 4, 2))
        out[i // 4, 0, down : down + THING, left : left + THING] = thing[0]
    return out


def quarters(images: torch.Tensor) -> torch.Tensor:
    """Of each scene its four quarters, row by row, in the order of `scenes`."""
    half = SIDE // 2
    return images.unfold(2, half, half).unfold(3, half, half).flatten(2, 3).transpose(1, 2).flatten(0, 1)


def steps_of(recipe: Recipe, views: int) -> int:
    """How many steps show the student so many views: two of each image, and four boxes of it after ORL's start."""
    return round(views / (recipe.common.batch_size * (2 + 4 * (1 - getattr(recipe.block, "start", 1.0)))))


def trained(case: str, images: torch.Tensor, views: int, seed: int) -> tuple[Backbone, dict[str, float]]:
    """The backbone of a case, and the facts of its training."""
    params = settings("byol" if case == "random weights" else case, ())
    overlay(params.tree, f"seed={seed}")
    recipe, device = Recipe.read(params), Device.choose("fp32")
    backbone = recipe.backbone(images)
    if case == "random weights":
        return backbone, {}
    learner = recipe.learner(backbone, len(images), (SIDE, SIDE), device, images)
    steps, started = steps_of(recipe, views), time.process_time()
    feed = Feed(images, recipe.views, recipe.common.local, recipe.common.batch_size, params.seed)
    with tempfile.TemporaryDirectory() as state:
        fit(
            learner, feed, recipe.common.optim, num_steps=steps, seed=seed, device=device, state=Path(state),
            save_seconds=1e9,
        )  # fmt: skip
    recipe.finish(backbone, images, device)
    return backbone, {"steps": steps, "cpu_seconds": round(time.process_time() - started)}


@click.command(help=__doc__)
@click.argument("cases", nargs=-1)
@click.option("--images", "folder", type=click.Path(path_type=Path), default="/usr/share/datasets/fashion-mnist")
@click.option("--out", type=click.Path(path_type=Path), default="runs/scenes", show_default=True)
@click.option("--views", default=100_000, show_default=True)
@click.option("--seeds", default=1, show_default=True)
def main(cases: tuple[str, ...], folder: Path, out: Path, views: int, seeds: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    x = torch.from_numpy(read_idx(folder / "train-images-idx3-ubyte.gz", 3).copy())
    y = read_idx(folder / "train-labels-idx1-ubyte.gz", 1).astype(np.int64)
    last = 4 * (TRAIN + TEST)
    chance = np.random.default_rng(0)
    images, others = scenes(x[: 4 * TRAIN], chance), scenes(x[4 * TRAIN : last], chance)
    for seed in range(seeds):
        for case in cases or CASES:
            net, about = trained(case, images, views, seed)
            device = Device.choose("fp32")
            a, b = (embed(net.eval(), quarters(part), 500, device) for part in (images, others))
            knn = (nearest_vote(a, y[: 4 * TRAIN], b, NEIGHBOURS) == y[4 * TRAIN : last]).mean()
            scale = StandardScaler().fit(a)
            model = LogisticRegression(C=0.1, max_iter=300).fit(scale.transform(a), y[: 4 * TRAIN])
            linear = model.score(scale.transform(b), y[4 * TRAIN : last])
            row = {"case": case, "seed": seed, "views": views, "knn": round(100 * float(knn), 2)}
            line = json.dumps({**row, "linear": round(100 * linear, 2), **about})
            with (out / "records.jsonl").open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
