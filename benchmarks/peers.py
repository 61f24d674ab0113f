"""What others offer for the same work, to compare ours with.

The training loop of lightly's documentation, with lightly's losses, heads and views; selectors of scikit-activeml.
"""

import copy
import importlib.util
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pipeline.base.torchvision_import import torchvision

PEERS = ("simclr", "moco", "byol")
SELECTORS = {"typiclust": "TypiClust", "kcenter": "CoreSet"}  # ours, and its name in scikit-activeml


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def picks(name: str, x: np.ndarray, budget: int) -> np.ndarray:
    """Rows that a selector of scikit-activeml picks where nothing is labelled."""
    from skactiveml import pool

    selector = getattr(pool, name)(random_state=0)
    return np.asarray(selector.query(x, np.full(len(x), np.nan), batch_size=budget))


class Pictures(Dataset):
    """Grey images as Pillow images, which lightly's views take."""

    def __init__(self, pixels: Tensor, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self.images = [Image.fromarray(image[0].numpy()) for image in pixels]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> list[Tensor]:
        return self.transform(self.images[row])


def endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


def loop(name: str, backbone: nn.Module, dim: int, pixels: Tensor, batch_size: int, steps: int) -> Callable[[], None]:
    """`steps` steps of a method on two views of each image; the workers, one for each core, live on between calls."""
    torchvision()
    from lightly.loss import NegativeCosineSimilarity, NTXentLoss
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead, MoCoProjectionHead, SimCLRProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=pixels.shape[-1], gaussian_blur=0.0, min_scale=0.2, normalize=None)
    data = Pictures(pixels, transform)
    options = {"num_workers": os.cpu_count() or 1, "persistent_workers": True}
    batches = endless(DataLoader(data, batch_size, shuffle=True, drop_last=True, **options))
    heads = {"simclr": SimCLRProjectionHead, "moco": MoCoProjectionHead, "byol": BYOLProjectionHead}
    online = nn.Sequential(backbone, heads[name](dim, 512, 128))
    slow = copy.deepcopy(online)
    deactivate_requires_grad(slow)
    predictor = BYOLPredictionHead(128, 512, 128)
    contrast = NTXentLoss(memory_bank_size=(4096, 128) if name == "moco" else 0)
    cosine = NegativeCosineSimilarity()
    optimiser = torch.optim.SGD([*online.parameters(), *predictor.parameters()], lr=0.06)

    def loss(x0: Tensor, x1: Tensor) -> Tensor:
        if name == "simclr":
            return contrast(online(x0), online(x1))
        update_momentum(online, slow, m=0.99)
        with torch.no_grad():
            slow0, slow1 = slow(x0), slow(x1)
        if name == "moco":
            return 0.5 * (contrast(online(x0), slow1) + contrast(online(x1), slow0))
        return 0.5 * (cosine(predictor(online(x0)), slow1) + cosine(predictor(online(x1)), slow0))

    def run() -> None:
        for _ in range(steps):
            value = loss(*next(batches))
            value.backward()
            optimiser.step()
            optimiser.zero_grad()

    return run
