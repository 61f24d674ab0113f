"""Speed of training inside `fit`, views and slow copies included, beside the bare passes of the same networks.

The floor is forward, backward and the optimiser's step on tensors that are there already, with the same network, batch
and precision; for MoCo the slow network's forward pass belongs to it. Both run in turn in one process, so that a busy
machine slows both; the ratio is the median over the rounds. Exits with 1 if a ratio is below its limit.

    python -m benchmarks.training
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.data.views import ContrastiveView, StrongView, WeakView
from pipeline.fit import fit
from pipeline.nn.backbones import Backbone, SmallResNet, fresh
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.nn.optim import OptimParams
from pipeline.params import Params
from pipeline.selfsup.feed import TwoViews
from pipeline.selfsup.moco import Moco, MocoParams
from pipeline.semisup.batch import Feed
from pipeline.semisup.fixmatch import FixMatch, FixMatchParams
from pipeline.semisup.supervised import Supervised, SupervisedParams

LIMIT = 0.85
ROUNDS, STEPS = 7, 8
PARAMS = Params.read(Path("params.yaml"))


def network(pixels: torch.Tensor) -> Backbone:
    return fresh("small_resnet", SmallResNet(width=32, stem_stride=2), pixels)


def bare(nets: list[nn.Module], idle: list[nn.Module], size: tuple[int, ...], device: Device) -> Callable[[], None]:
    """STEPS steps of the `nets` with, and the `idle` without gradient, each on a batch of its own."""
    images = torch.rand(size, device=device.device)
    optimisers = [torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True) for net in nets]

    def run() -> None:
        for _ in range(STEPS):
            with device.autocast():
                with torch.no_grad():
                    for net in idle:
                        net(images)
                out = [net(images).float() for net in nets]
                loss = torch.stack(
                    [F.cross_entropy(o, torch.zeros(len(o), dtype=torch.long, device=o.device)) for o in out]
                )
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.sum().backward()
            for optimiser in optimisers:
                optimiser.step()
        if device.device.type == "cuda":
            torch.cuda.synchronize()

    return run


def trained(method: nn.Module, feed: Callable[[int], object], device: Device) -> Callable[[], None]:
    """STEPS steps of `fit`."""
    optim = PARAMS.block("train.optim", OptimParams)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            kwargs = {"num_steps": STEPS, "seed": 0, "device": device, "state": Path(folder), "save_seconds": 1e9}
            fit(method, feed, optim, **kwargs)

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    torch.manual_seed(0)
    device = Device.choose("auto")
    pixels = torch.randint(0, 256, (4096, 1, 28, 28), dtype=torch.uint8).to(device.device)
    view = PARAMS.block("pretrain.view", ContrastiveView)
    weak, strong = PARAMS.block("train.weak", WeakView), PARAMS.block("train.strong", StrongView)

    def classifier() -> Classifier:
        net = Classifier(network(pixels.cpu()), [str(i) for i in range(10)], (28, 28))
        return net.to(device.device, memory_format=torch.channels_last)

    def feed(size: int, ratio: int) -> Feed:
        labels = torch.arange(40) % 10
        return Feed(pixels, range(40), labels, sizes=(size, size * ratio), views=(weak, strong), seed=0)

    moco = Moco(
        network(pixels.cpu()), PARAMS.block("pretrain.moco", MocoParams), len(pixels), torch.Generator().manual_seed(0)
    )
    moco.to(device.device)
    fixmatch = FixMatch(classifier(), PARAMS.block("train.fixmatch", FixMatchParams))
    supervised = Supervised(classifier(), PARAMS.block("train.supervised", SupervisedParams))
    b, mu = 32, fixmatch.ratio
    passes = [moco.online, moco.online], [moco.slow, moco.slow]
    cases = {
        "moco": (512, trained(moco, TwoViews(pixels, view, 256, 0), device), bare(*passes, (256, 1, 28, 28), device)),
        "fixmatch": (
            b * (1 + 2 * mu),
            trained(fixmatch, feed(b, mu), device),
            bare([fixmatch.net], [], (b * (1 + 2 * mu), 1, 28, 28), device),
        ),
        "supervised": (
            256,
            trained(supervised, feed(256, 0), device),
            bare([supervised.net], [], (256, 1, 28, 28), device),
        ),
    }
    print(f"{'method':<12}{'fit img/s':>12}{'bare img/s':>12}{'ratio':>8}{'limit':>8}")
    slow = 0
    for name, (count, ours, floor) in cases.items():
        ours(), floor()  # once, not counted: memory is allocated, kernels are chosen
        pairs = [(seconds(ours), seconds(floor)) for _ in range(ROUNDS)]
        ratio = statistics.median(f / o for o, f in pairs)
        speeds = [count * STEPS / statistics.median(values) for values in zip(*pairs, strict=True)]
        print(f"{name:<12}{speeds[0]:>12.0f}{speeds[1]:>12.0f}{ratio:>8.2f}{LIMIT:>8.2f}", flush=True)
        slow += ratio < LIMIT
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
