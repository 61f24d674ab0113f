"""Real images for tests: scikit-learn's 1,797 scans of digits, and small learners on them."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from pipeline.artifacts.model import Weights
from pipeline.nn.arrays import to_arrays
from pipeline.nn.backbones import Backbone, SmallResNet, fresh
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, Levels, Nearest
from pipeline.nn.split_resnet import SplitResNet
from pipeline.nn.vit import ViTTiny
from pipeline.pretrain.feed import Feed as SelfsupFeed
from pipeline.pretrain.methods import METHODS as SELFSUP
from pipeline.train.base_run import BaseRun
from pipeline.train.methods import METHODS as SEMISUP
from pipeline.train.methods import Chosen
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams
from tests.method_values import (
    COLOUR,
    CONTRASTIVE,
    LOCAL,
    MASKED,
    NO_LOCAL,
    OPTIM,
    PARAMS,
    SEMISUP_PARAMS,
    STRONG,
    WEAK,
)


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels, uint8 (1797, 1, 8, 8), and classes."""
    data = load_digits()
    return torch.from_numpy(np.round(data.images * 255 / 16).astype(np.uint8))[:, None], torch.from_numpy(data.target)


def backbone(seed: int = 0, channels: int = 1) -> Backbone:
    """A small ResNet of width 16."""
    torch.manual_seed(seed)
    return fresh("small_resnet", SmallResNet(width=16, stem_stride=1), digits()[0].expand(-1, channels, -1, -1))


class SmallViT(ViTTiny):
    """Two layers, dim 64, patches of 2 pixels."""

    dim, heads, depth = 64, 4, 2


def transformer(seed: int = 0, channels: int = 1) -> Backbone:
    """A small vision transformer, for methods that mask patches."""
    torch.manual_seed(seed)
    return fresh("vit_tiny", SmallViT(patch_size=2, image_size=8), digits()[0].expand(-1, channels, -1, -1))


def split(sees: str = "both") -> Backbone:
    """Two small ResNets of width 16, for lightness and colours."""
    torch.manual_seed(0)
    return fresh("split_resnet", SplitResNet(width=32, stem_stride=1, sees=sees), tinted(digits()[0][:50, :1]))


def tinted(pixels: torch.Tensor) -> torch.Tensor:
    """Grey images as colour ones: a channel as it is, one upside down, one mirrored."""
    return torch.cat([pixels, pixels.flip(2), pixels.flip(3)], dim=1)


@cache
def larger(channels: int) -> str:
    """A folder with a backbone of more features than those of `backbone`, as `pretrain` leaves it."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    torch.manual_seed(2)
    net = fresh("small_resnet", SmallResNet(width=24, stem_stride=1), digits()[0].expand(-1, channels, -1, -1))
    Weights(to_arrays(net), {"backbone": net.about}).write(Path(folder), "backbone")
    return folder


@cache
def teacher(channels: int) -> str:
    """A folder with a model as `train` leaves it."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    body = backbone(1, channels)  # first, as it seeds what the head draws
    head = Levels(64, {"label": [str(i) for i in range(10)]})
    Classifier(body, head, (8, 8)).write(Path(folder), {})
    return folder


@cache
def former(channels: int) -> str:
    """A folder with a model that knows the classes 0 to 4, as `train` leaves it by PAWS."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    body, names = backbone(3, channels), [str(i) for i in range(10)]  # first, as it seeds what the head draws
    head = Nearest(64, {"label": names, LINEAR: names}, hidden_dim=16, out_dim=8, temperature=0.1, num_supports=5)
    head.answers.copy_(torch.eye(10)[:5])
    pixels = digits()[0][:300].expand(-1, channels, -1, -1)
    with torch.no_grad():
        for _ in range(40):  # running statistics of real images: else all projections point one way
            head.projector(body(pixels))
    Classifier(body, head, (8, 8)).write(Path(folder), {})
    return folder


@cache
def base_run(channels: int) -> BaseRun:
    """Inverted digits in five classes, and a model of them."""
    body, names = backbone(4, channels), ["0 or 1", "2 or 3", "4 or 5", "6 or 7", "8 or 9"]  # first: it seeds the head
    pixels = 255 - digits()[0][300:600].expand(-1, channels, -1, -1)
    with torch.no_grad():
        for _ in range(40):  # running statistics of real images
            body(pixels)
    model = Classifier(body, Levels(64, {"label": names}), (8, 8)).eval()
    targets = Targets({"label": names}, torch.arange(300), digits()[1][300:600, None] // 2)
    return BaseRun(Path("elsewhere"), targets, Resident(pixels), model)


def self_supervised(name: str, channels: int = 1, batch_size: int = 8, num_images: int = 300, **changes: Any):
    """A self-supervised method with fresh weights and its feed, on the first digits; three channels are tinted."""
    if name == "simreg":
        changes = {"teacher": larger(channels), **changes}
    params = SELFSUP[name].Params(**{**PARAMS[name], **changes})
    channels = 3 if name in COLOUR else channels
    net = split() if name in COLOUR else (transformer if name in MASKED else backbone)(channels=channels)
    method = SELFSUP[name](net, params, num_images, torch.Generator().manual_seed(0))
    pixels = digits()[0][:num_images].expand(-1, channels, -1, -1)
    pixels = tinted(pixels[:, :1]) if channels == 3 else pixels
    local, views = LOCAL if method.takes_local else NO_LOCAL, [CONTRASTIVE] * method.num_views
    method.see(pixels, views)
    return method, SelfsupFeed(pixels, views, local, batch_size, seed=0)


def chosen(name: str, channels: int = 1, **changes: Any) -> Chosen:
    """A method of `train` with small values; those of hiermatch beside `base` are its base's."""
    if name == "hiermatch":
        base = changes.pop("base", SEMISUP_PARAMS[name]["base"])
        return Chosen(name, SEMISUP[name].Params(base=base), chosen(base, **changes))
    if name == "distill":
        changes = {"teacher": teacher(channels), **changes}
    if name == "nncsl":
        changes = {"previous": former(channels), **changes}
    return Chosen(name, SEMISUP[name].Params(**{**SEMISUP_PARAMS[name], **changes}))


def semi(name: str, of: Task | None = None, channels: int = 1, **changes: Any):
    """A method of `train` with fresh weights and the function that gives its batches, from the first 300 digits."""
    of = of or task(method=name)
    if name == "dynamic":
        of = replace(of, base=base_run(channels))
    method = chosen(name, channels, **changes).build(backbone(channels=channels), of)
    return method, method.feed(Resident(digits()[0][:300].expand(-1, channels, -1, -1)))


def learner(name: str, channels: int = 1, batch_size: int = 8, changes: Mapping[str, Any] = {}, of: Task | None = None):
    """A method of either kind with fresh weights and the function that gives its batches, eight images a step."""
    if name in SEMISUP_NAMES:
        return semi(SEMISUP_NAMES[name], of or task(batch_size), channels, **changes)
    return self_supervised(name, channels, batch_size, **changes)


def stopping(feed: Callable[[int], Any], at: int | None):
    """The batches of a run that dies at the start of step `at`, as a killed process would: after its last save."""

    def batch_at(step: int) -> Any:
        if step == at:
            raise KeyboardInterrupt
        return feed(step)

    return batch_at


def task(batch_size: int = 8, labels: Sequence[Sequence[int]] | None = None, **changes: Any) -> Task:
    """Digits: the first 20 of 300 are labelled, with even and odd (0, 1) as a coarser level, or as `labels` says."""
    if labels is None:
        labels = [[digit, digit % 2] for digit in digits()[1][:20].tolist()]
    names = {"label": [str(i) for i in range(10)], "coarse": ["even", "odd"], "coarse2": ["any"]}
    targets = Targets(
        {level: names[level] for level in list(names)[: len(labels[0])]},
        torch.arange(len(labels)),
        torch.tensor(labels),
    )
    common = {
        "method": "fixmatch", "start": "pretrained", "frozen": 0.0, "head": "random", "targets": "own",
        "targets_share": 1.0, "steps": 12, "batch_size": batch_size, "sampling": "images", "batch_norm": "joint",
        "sync_bn": True, "ema_momentum": 0.9, "align_momentum": 0.9, "warm_averages": True,
        "weak": WEAK, "strong": STRONG, "view": CONTRASTIVE, "optim": OPTIM,
    }  # fmt: skip
    return Task(targets, 300, (8, 8), TrainParams(**{**common, **changes}), 0)


# In the tests of both kinds a name that both have is that of the self-supervised method.
SEMISUP_NAMES = {f"{name}_semi" if name in SELFSUP else name: name for name in SEMISUP}
METHODS = sorted([*SELFSUP, *SEMISUP_NAMES])
