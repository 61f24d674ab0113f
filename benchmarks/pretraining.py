"""Compares the self-supervised methods on 20,000 Fashion-MNIST images and 800,000 views, in one table.

A case is a method, or `<method>+cld`. It trains the small ResNet with params.yaml, over which
presets/fashion-mnist/laptop.yaml and, if it exists, presets/fashion-mnist/<method>.yaml are laid, and saves the
backbone. Two probes then measure that file: 20 nearest neighbours and a logistic regression, both trained with the
answers of the 20,000 images, which pretraining never sees. What people buy is measured beside them: 40 picks of `auto`
on the backbone's vectors, whose labels train a linear probe or spread over the graph, a mean over five seeds. Each
result is a line of <out>/records.jsonl, so nothing is computed twice. Settings were chosen with --validation, which
scores on 10,000 other training images; no setting was chosen by the test images.

    python -m benchmarks.pretraining moco byol moco+cld
    python -m benchmarks.pretraining --table
"""

import hashlib
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.model import Weights
from pipeline.base.params import Params, overlay, parse_yaml
from pipeline.embed.run import embed
from pipeline.evaluate.probes import nearest_vote
from pipeline.fit import fit
from pipeline.graph.run import GraphParams, nearest_others
from pipeline.ingest.sources.fashion_mnist import read_idx
from pipeline.new_run import merge
from pipeline.nn.arrays import to_arrays
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.recipe import Recipe
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool
from pipeline.study.score import PROBE, Data, Scorer
from pipeline.train.methods import PROPAGATE

IMAGES, VIEWS, NEIGHBOURS = 20_000, 800_000, 20
LABELS, PICKS = 40, 5  # of a selection, and how many selections
PRESETS = Path("presets/fashion-mnist")


@dataclass(frozen=True)
class Images:
    """The images to learn from and the images to score probes on, with their answers."""

    x: torch.Tensor
    y: np.ndarray
    xt: torch.Tensor
    yt: np.ndarray

    @classmethod
    def read(cls, folder: Path, validation: bool) -> "Images":
        """Reads the idx files in a folder."""

        def split(prefix: str) -> tuple[torch.Tensor, np.ndarray]:
            images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
            labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
            return torch.from_numpy(images.copy())[:, None], labels.astype(np.int64)

        x, y = split("train")
        others = (x[IMAGES : IMAGES + 10_000], y[IMAGES : IMAGES + 10_000]) if validation else split("t10k")
        return cls(x[:IMAGES], y[:IMAGES], *others)


def settings(case: str, sets: tuple[str, ...]) -> Params:
    """The params of a case."""
    method, _, add_on = case.partition("+")
    params = Params.read(Path("params.yaml"))
    tree: Any = params.tree
    for name in ("laptop", method, add_on):
        file = PRESETS / f"{name}.yaml"
        if file.is_file():
            merge(tree, parse_yaml(file.read_text(), str(file)), str(file))
    for item in (f"pretrain.method={method}", *sets):
        overlay(tree, item)
    return params


def digest(params: Params, views: int) -> str:
    """A digest that differs between runs of different values."""
    recipe = Recipe.read(params)
    blocks = [block.model_dump(exclude={"steps"}) for block in (recipe.common, recipe.block, recipe.options)]
    return hashlib.sha256(json.dumps([*blocks, params.seed, IMAGES, views]).encode()).hexdigest()[:12]


def train(params: Params, images: Images, views: int, folder: Path) -> None:
    """Saves a trained backbone, and beside it the facts of its training."""
    recipe, device = Recipe.read(params), Device.choose("fp32")
    backbone = recipe.backbone(images.x)
    learner = recipe.learner(backbone, len(images.x), (28, 28), device, images.x)
    batch_size = recipe.common.batch_size
    steps = views // (len(recipe.views) * batch_size)
    started, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as state:
        rows = fit(
            learner,
            Feed(images.x, recipe.views, recipe.common.local, batch_size, params.seed),
            recipe.common.optim,
            num_steps=steps,
            seed=params.seed,
            device=device,
            state=Path(state),
            save_seconds=1e9,
        )
    recipe.finish(backbone, images.x, device)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    about = {
        "backbone": backbone.about,
        "commit": commit,
        "steps": steps,
        "batch_size": batch_size,
        "seconds": round(time.perf_counter() - started),
        "cpu_seconds": round(time.process_time() - cpu),
        "loss": rows[-1]["loss"],
        "feature_std": rows[-1]["feature_std"],
    }
    folder.mkdir(parents=True)
    Weights(to_arrays(backbone), about).write(folder, "backbone")


def probe(x: np.ndarray, xt: np.ndarray, images: Images) -> dict[str, float]:
    """Accuracy, in percent, of both probes on unit vectors, and with few labels."""
    knn = (nearest_vote(x, images.y, xt, NEIGHBOURS) == images.yt).mean()
    scale = StandardScaler().fit(x)
    model = LogisticRegression(C=0.1, max_iter=300).fit(scale.transform(x), images.y)
    shares = {"knn": float(knn), "linear": model.score(scale.transform(xt), images.yt), **few(x, xt, images)}
    return {name: round(100 * share, 2) for name, share in shares.items()}


def few(x: np.ndarray, xt: np.ndarray, images: Images) -> dict[str, float]:
    """Accuracy from the labels of `auto`'s picks, by each way to use them, with the values of params.yaml."""
    params = Params.read(Path("params.yaml"))
    graph = params.stage("graph", GraphParams)
    train, test = (Embeddings([f"{i:05d}" for i in range(len(part))], part) for part in (x, xt))
    names = tuple(str(i) for i in range(int(images.y.max()) + 1))
    data = Data(Path(), train, test, images.y, images.yt, names, {})
    scorer = Scorer(data, nearest_others(x, graph.neighbours, graph.search)[0], params)
    pool = Pool.of(x, params.stage("select", SelectParams, SELECTORS).search)
    auto = params.block("select.auto", SELECTORS["auto"])
    picks = [np.sort(auto.select(pool, LABELS, seed).rows) for seed in range(PICKS)]
    return {
        f"few_{method}": float(np.mean([scorer.score(method, rows, seed)["top1"] for seed, rows in enumerate(picks)]))
        for method in (PROBE, PROPAGATE)
    }


def probe_floor(name: str, images: Images) -> dict[str, float]:
    """Probes raw pixels, or the network with random weights."""
    if name == "raw pixels":
        flat = [part.flatten(1).float().numpy() for part in (images.x, images.xt)]
        return probe(*(part / np.linalg.norm(part, axis=1, keepdims=True) for part in flat), images)
    device = Device.choose("fp32")
    net = Recipe.read(settings("moco", ())).backbone(images.x).to(device.device).eval()
    return probe(*(embed(net, part, 500, device) for part in (images.x, images.xt)), images)


def probe_file(folder: Path, images: Images) -> dict[str, Any]:
    """Probes a saved backbone; gives the facts of its training too."""
    device = Device.choose("fp32")
    net = read_backbone(folder).to(device.device).eval()
    about = Weights.read(folder, "backbone").about
    about.pop("backbone")
    return {**probe(*(embed(net, part, 500, device) for part in (images.x, images.xt)), images), **about}


def table(rows: list[dict[str, Any]]) -> str:
    names = ["method", "20-NN %", "linear %", "40 labels: probe %", "propagation %"]
    names += ["feature_std", "steps x batch", "CPU s", "commit"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in sorted(rows, key=lambda row: -row["knn"]):
        about = ["", "", "", ""]
        if "steps" in row:
            steps = f"{row['steps']} x {row['batch_size']}"
            about = [f"{row['feature_std']:.2f}", steps, str(row["cpu_seconds"]), row["commit"]]
        probes = [f"{row[name]:.1f}" if name in row else "" for name in ("knn", "linear", "few_probe", "few_propagate")]
        lines.append(f"| {' | '.join([row['case'], *probes, *about])} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("cases", nargs=-1)
@click.option("--images", "folder", type=click.Path(path_type=Path), default="/usr/share/datasets/fashion-mnist")
@click.option("--out", type=click.Path(path_type=Path), default="runs/pretraining", show_default=True)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Lay a value over the params.")
@click.option("--views", default=VIEWS, show_default=True)
@click.option("--validation", is_flag=True, help="Probe on other training images: for choosing settings.")
@click.option("--table", "print_table", is_flag=True, help="Print the table of the records, and stop.")
def main(
    cases: tuple[str, ...],
    folder: Path,
    out: Path,
    sets: tuple[str, ...],
    views: int,
    validation: bool,
    print_table: bool,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    records = out / "records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    if print_table:
        print(table([r for r in rows if (r["validation"], r["views"]) == (validation, views) and not r["sets"]]))
        return
    images = Images.read(folder, validation)
    for case in cases:
        floor = case in ("raw pixels", "random weights")
        name = case if floor else f"{case}-{digest(settings(case, sets), views)}"
        if any((row["name"], row["validation"]) == (name, validation) for row in rows):
            continue
        if not floor and not (out / name).exists():
            train(settings(case, sets), images, views, out / name)
        found = probe_floor(case, images) if floor else probe_file(out / name, images)
        line = json.dumps({"case": case, "name": name, "validation": validation, "sets": sets, "views": views, **found})
        with records.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
