"""Real images for tests: scikit-learn's 1,797 scans of digits, and small learners on them."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from pipeline.nn.backbones import Backbone, SmallResNet, fresh
from pipeline.nn.optim import OptimParams
from pipeline.pretrain.feed import Feed as SelfsupFeed
from pipeline.pretrain.methods import METHODS as SELFSUP
from pipeline.train.methods import METHODS as SEMISUP
from pipeline.train.methods import learner as semisup_learner
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams
from pipeline.views.kinds import ContrastiveView, LocalCrops, StrongView, WeakView

CONTRASTIVE = ContrastiveView(
    crop_min=0.4, flip=0.5, jitter_prob=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey_prob=0.2,
    blur_prob=0.5, crop_max=1.0, solarize_prob=0.0,
)  # fmt: skip
WEAK = WeakView(flip=0.0, shift=0.125)
STRONG = StrongView(
    flip=0.0, op_prob=0.3, rotate=30, shear=0.3, shift=0.2, colour=0.9, solarize=True, posterize=True, cutout=0.5
)  # fmt: skip
OPTIM = OptimParams(
    name="sgd",
    learning_rate=0.05,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    accumulate=1,
    warmup=0.2,
    schedule="cosine",
    final_learning_rate=0.0,
    bias_scale=1.0,
    trust=1e-3,
    clip=False,
)
# What each method's block holds in these tests; a method without a line here fails the contract tests.
PARAMS = {
    "moco": {
        "dim": 8, "hidden_dim": 16, "queue_size": 50, "temperature": 0.2, "keep_start": 0.9, "keep_end": 1.0,
        "bn_groups": 2, "symmetric": True,
    },
    "simclr": {"dim": 8, "hidden_dim": 16, "head_layers": 2, "temperature": 0.5},
    "byol": {"dim": 8, "hidden_dim": 16, "keep_start": 0.9, "keep_end": 1.0},
    "simsiam": {"dim": 8, "hidden_dim": 16, "projector_layers": 2, "predictor_dim": 4},
    "swav": {
        "dim": 8, "hidden_dim": 16, "prototypes": 12, "temperature": 0.1, "epsilon": 0.05, "iterations": 3,
        "queue_size": 24, "queue_start": 0.2, "frozen": 0.2,
        "local": LocalCrops(count=2, side=0.5, crop_min=0.1, crop_max=0.4),
    },
    "barlow_twins": {"dim": 8, "hidden_dim": 16, "off_diagonal": 0.0051, "scale": 0.1},
    "npid": {"dim": 8, "head_norm": False, "temperature": 0.1, "negatives": 30, "bank_keep": 0.5},
    "pirl": {
        "dim": 8, "head_norm": True, "temperature": 0.1, "negatives": 0, "bank_keep": 0.5, "grid": 2, "patch": 0.75,
    },
    "msf": {"dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "keep_start": 0.9, "keep_end": 1.0},
    "cmsf": {
        "dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "constrained": 3, "keep_start": 0.9,
        "keep_end": 1.0,
    },
}  # fmt: skip
_GUESSES = {"ratio": 2, "weight": 1.0, "align": "none", "align_keep": 0.9, "keep": 0.9}
_FIXMATCH = {**_GUESSES, "threshold": 0.12}
_MIXMATCH = {**_GUESSES, "views": 2, "sharpen": 0.5, "alpha": 0.75, "weight": 3.0, "ramp": 0.5}
SEMISUP_PARAMS = {
    "fixmatch": _FIXMATCH,
    "flexmatch": _FIXMATCH,
    "freematch": {**_GUESSES, "threshold_keep": 0.9, "fairness": 0.1},
    "softmatch": {**_GUESSES, "align": "uniform", "confidence_keep": 0.9, "n_sigma": 2.0},
    "mixmatch": _MIXMATCH,
    "hiermatch": {"base": "mixmatch", "fixmatch": _FIXMATCH, "mixmatch": _MIXMATCH},
    "paws": {
        "per_class": 2, "classes": 10, "num_unlabelled": 8, "dim": 8, "hidden_dim": 16, "predictor_dim": 4,
        "temperature": 0.1, "smoothing": 0.1, "sharpen": 0.25, "me_max": 1.0, "keep": 0.9, "view": CONTRASTIVE,
        "local": LocalCrops(count=2, side=0.5, crop_min=0.1, crop_max=0.4),
    },
    "cmsf": {
        "ratio": 2, "dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "confidence": 0.15,
        "supervised": 0.5, "finetune": 0.25, "target_keep": 0.9, "keep": 0.9,
    },
    "distill": {
        "teacher": "", "backbone": "same", "options": {}, "ratio": 2, "alpha": 0.5, "temperature": 1.0, "keep": 0.9,
    },
    "supervised": {"keep": 0.9},
    "finetune": {"head_share": 0.5, "backbone_scale": 0.5, "keep": 0.9},
    "linear": {"keep": 0.9},
}  # fmt: skip


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels, uint8 (1797, 1, 8, 8), and classes."""
    data = load_digits()
    return torch.from_numpy(np.round(data.images * 255 / 16).astype(np.uint8))[:, None], torch.from_numpy(data.target)


def backbone(seed: int = 0, channels: int = 1) -> Backbone:
    """A small ResNet of width 16."""
    torch.manual_seed(seed)
    return fresh("small_resnet", SmallResNet(width=16, stem_stride=1), digits()[0].expand(-1, channels, -1, -1))


@cache
def teacher(channels: int) -> str:
    """A folder with a model as `train` leaves it."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    params = SEMISUP["supervised"].Params(**SEMISUP_PARAMS["supervised"])
    semisup_learner("supervised", backbone(1, channels), task(), params).net.write(Path(folder), {})
    return folder


def learner(
    name: str,
    channels: int = 1,
    batch_size: int = 8,
    changes: Mapping[str, Any] = {},
    of: Task | None = None,
):
    """A method with fresh weights and the function that gives its batches, eight (labelled) images a step."""
    pixels = digits()[0].expand(-1, channels, -1, -1)
    if name not in SEMISUP_NAMES:
        params = SELFSUP[name].Params(**{**PARAMS[name], **changes})
        method = SELFSUP[name](backbone(channels=channels), params, 300, torch.Generator().manual_seed(0))
        local = getattr(params, "local", None)
        return method, SelfsupFeed(pixels[:300], (CONTRASTIVE, CONTRASTIVE), local, batch_size, seed=0)
    name = SEMISUP_NAMES[name]
    more = {"teacher": teacher(channels)} if name == "distill" else {}
    params = SEMISUP[name].Params(**{**SEMISUP_PARAMS[name], **more, **changes})
    method = semisup_learner(name, backbone(channels=channels), of or task(batch_size), params)
    return method, method.feed(Resident(pixels[:300]))


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
        "method": "fixmatch", "start": "pretrained", "head": "random", "steps": 12, "batch_size": batch_size,
        "sampling": "images", "batch_norm": "joint", "sync_bn": True, "precision": "fp32", "compile": False,
        "recompute": False, "resident_mb": 8000, "window_shards": 1, "weak": WEAK, "strong": STRONG,
        "optim": OPTIM,
    }  # fmt: skip
    return Task(targets, 300, (8, 8), TrainParams(**{**common, **changes}), 0)


# In the tests of both kinds a name that both have is that of the self-supervised method.
SEMISUP_NAMES = {f"{name}_semi" if name in SELFSUP else name: name for name in SEMISUP}
METHODS = sorted([*SELFSUP, *SEMISUP_NAMES])
