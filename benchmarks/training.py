"""Measures the speed of training inside `fit`, with views and teachers, beside the bare passes of the same networks.

The floor is forward, backward and the optimiser's step on tensors that are in memory: the backbone passes that a method
makes, with the same sizes and with or without gradient, but no heads and no loss. Both run in turn in one process, so a
busy machine slows both; the ratio is the median over the rounds. For self-supervised methods the cost of the loss
alone, forward and backward, is printed as a share of the step, with queues of 4,096. If lightly is installed, its loop
runs too, with the same images, network, batch and kind of views. Exits as `benchmarks.ledger` says.

    python -m benchmarks.training            # or some of the methods by name
"""

import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import ledger, peers
from benchmarks.ledger import Figure
from benchmarks.losses import loss_of
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.fit import fit
from pipeline.nn.backbones import BACKBONES, Backbone, SmallResNet, fresh
from pipeline.nn.compute import reduce_cost
from pipeline.nn.device import Device
from pipeline.nn.optim import OptimParams
from pipeline.pretrain.feed import Feed as Views
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.recipe import Recipe
from pipeline.train.methods import METHODS as SEMISUP
from pipeline.train.methods import PROPAGATE, Chosen
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams

LIMIT, LOSS_LIMIT = 0.85, 0.05
USB = 700  # views/s of its FixMatch, WRN-10-1, batch 16, ratio 7
ROUNDS, STEPS, BATCH, SIDE, QUEUE = 7, 4, 256, 28, 4096
PARAMS = Params.read(Path("params.yaml"))
# Not a pretext task: its loss is the cross-entropy of a few classes. Nor simreg, whose teacher is a file.
OF_VIEWS = [name for name, method in METHODS.items() if method.num_views > 1 and name != "simreg"]
SETS = ("pretrain.moco.queue_size=4096", "pretrain.backbones.small_resnet.stem_stride=2")


def network(pixels: Tensor) -> Backbone:
    return fresh("small_resnet", SmallResNet(width=32, stem_stride=2), pixels)


def passes(method: nn.Module, batch: object) -> list[tuple[torch.Size, bool]]:
    """Shape of every input that went through a backbone for one loss, and whether it needed a gradient."""
    seen = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: seen.append((args[0].shape, torch.is_grad_enabled())))
        for module in method.modules()
        if isinstance(module, Backbone)
    ]
    method.loss(batch)
    for hook in hooks:
        hook.remove()
    return seen


def bare(net: Backbone, calls: list[tuple[torch.Size, bool]], device: Device) -> Callable[[], None]:
    """STEPS steps of the same passes."""
    images = [torch.rand(shape, device=device.device) for shape, _ in calls]
    idle = copy.deepcopy(net)
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def run() -> None:
        for _ in range(STEPS):
            losses = []
            with device.autocast():
                for x, (_, grad) in zip(images, calls, strict=True):
                    if grad:
                        losses.append(net(x).float().square().mean())
                    else:
                        with torch.no_grad():
                            idle(x)
            optimiser.zero_grad()
            if losses:
                torch.stack(losses).sum().backward()
            optimiser.step()
        wait(device)

    return run


def trained(method: nn.Module, feed: Callable[[int], object], optim: OptimParams, device: Device) -> Callable[[], None]:
    """STEPS steps of `fit`."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            options = {"num_steps": STEPS, "seed": 0, "device": device, "state": Path(folder), "save_seconds": 1e9}
            fit(method, feed, optim, **options)
        wait(device)

    return run


def loss_alone(name: str, device: Device) -> Callable[[], None]:
    """STEPS times the loss of a batch of projections and its gradient, with the values of params.yaml."""
    loss = loss_of(name, PARAMS.block(f"pretrain.{name}", METHODS[name].Params), BATCH, QUEUE, device)

    def run() -> None:
        for _ in range(STEPS):
            loss().backward()
        wait(device)

    return run


def wait(device: Device) -> None:
    if device.device.type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(*runs: Callable[[], None]) -> tuple[list[float], list[float]]:
    """Median seconds of each, run in turn; and median ratios of the others' seconds to the first's, round by round."""
    for run in runs:
        run()  # once, not counted: memory is allocated, kernels are chosen
    rounds = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return times, [statistics.median(row[i] / row[0] for row in rounds) for i in range(1, len(runs))]


def self_supervised(name: str, pixels: Tensor, device: Device) -> list[Figure]:
    """Prints the row of a method; returns its ratios."""
    method, feed, optim = without_labels(name, pixels, device)
    floor = bare(network(pixels.cpu()).to(device.device), passes(method, feed(0)), device)
    runs = [trained(method, feed, optim, device), floor, loss_alone(name, device)]
    peer = peers.installed("lightly", "lightning_utilities") and name in peers.PEERS and device.device.type == "cpu"
    if peer:
        net = network(pixels.cpu())
        runs.append(peers.loop(name, net, net.dim, pixels.cpu(), BATCH, STEPS))
    times, (ratio, share, *_) = medians(*runs)
    speeds = [2 * BATCH * STEPS / t for t in times]
    beside = f"{speeds[3]:>14.0f}" if peer else f"{'':>14}"
    print(f"{name:<14}{speeds[0]:>12.0f}{speeds[1]:>12.0f}{ratio:>8.2f}{100 * share:>9.1f} %{beside}", flush=True)
    figures = [Figure(f"{name}, of the bare passes", ratio, LIMIT)]
    if share > LOSS_LIMIT:
        figures.append(Figure(f"{name}, 5 % of a step for its loss", LOSS_LIMIT / share, 1.0))
    return [*figures, Figure(f"{name}, of lightly's loop", times[3] / times[0], 1.0)] if peer else figures


def without_labels(name: str, pixels: Tensor, device: Device) -> tuple[nn.Module, Callable[[int], Any], OptimParams]:
    """A method of `pretrain`, its batches and its optimiser."""
    recipe = Recipe.read(Params.read(Path("params.yaml"), (f"pretrain.method={name}", *SETS)))
    method = recipe.learner(network(pixels.cpu()), len(pixels), (SIDE, SIDE), device, pixels)
    feed = Views(pixels, recipe.views, recipe.common.local, BATCH, 0)
    return method, feed, recipe.common.optim


def semi_supervised(name: str, pixels: Tensor, device: Device) -> list[Figure]:
    """The same for a method on few labels; with the batch of params.yaml if it also uses unlabelled images."""
    shown, name = name, name.removesuffix("_semi")
    speed, ratio = few_labels(
        name, network(pixels.cpu()), network(pixels.cpu()), pixels, BATCH if name == "supervised" else 16, device
    )
    print(f"{shown:<14}{speed:>12.0f}{speed / ratio:>12.0f}{ratio:>8.2f}", flush=True)
    return [Figure(f"{shown}, of the bare passes", ratio, LIMIT)]


def beside_usb(_name: str, pixels: Tensor, device: Device) -> list[Figure]:
    """FixMatch with the network, batch and ratio at which USB reached 700 views/s on two threads of such a machine."""
    torch.manual_seed(0)
    speed = 0.0
    for name, sets in {
        "fixmatch, WRN-10-1": (),
        "compiled": ("machine.compile=true",),
        "compiled, split": ("machine.compile=true", "train.batch_norm=split"),
    }.items():
        torch.compiler.reset()
        nets = [fresh("wide_resnet10_1", BACKBONES["wide_resnet10_1"](), pixels.cpu()) for _ in range(2)]
        speed, ratio = few_labels("fixmatch", *nets, pixels, 16, device, *sets)
        print(f"{name:<26}{speed:>12.0f}{ratio:>8.2f}{speed / USB:>9.1f} x USB's {USB}", flush=True)
    return [Figure("fixmatch, WRN-10-1, of USB's 700 views/s", speed / USB, 3.0)]


def few_labels(
    name: str, net: Backbone, floor_net: Backbone, pixels: Tensor, batch_size: int, device: Device, *sets: str
) -> tuple[float, float]:
    """Views per second in `fit`, and the ratio to the bare passes."""
    method, feed, optim = of_few_labels(name, net, pixels, batch_size, device, *sets)
    floor = bare(floor_net.to(device.device), passes(method, feed(0)), device)
    times, (ratio,) = medians(trained(method, feed, optim, device), floor)
    return STEPS * feed(0).num_images / times[0], ratio


def of_few_labels(
    name: str, net: Backbone, pixels: Tensor, batch_size: int, device: Device, *sets: str
) -> tuple[nn.Module, Callable[[int], Any], OptimParams]:
    """A method of `train` on 40 labels, its batches and its optimiser."""
    sets = (f"train.method={name}", "train.targets=own", f"train.batch_size={batch_size}", *sets)
    params = Params.read(Path("params.yaml"), sets)
    targets = Targets({"label": [str(i) for i in range(10)]}, torch.arange(40), (torch.arange(40) % 10)[:, None])
    size = (pixels.shape[2], pixels.shape[3])
    task = Task(targets, len(pixels), size, params.stage("train", TrainParams, (*SEMISUP, PROPAGATE)), 0)
    method = Chosen.read(params).build(net, task).to(device.device)
    reduce_cost(method, compiled=params.block("machine", Machine).compile, recompute=False)
    return method, method.feed(Resident(pixels)), task.common.optim


def main(names: list[str]) -> int:
    torch.manual_seed(0)
    device = Device.choose("auto")
    pixels = torch.randint(0, 256, (4096, 1, SIDE, SIDE), dtype=torch.uint8).to(device.device)
    print(f"{'method':<14}{'fit views/s':>12}{'bare':>12}{'ratio':>8}{'loss':>11}{'lightly':>14}")
    print(f"{'limit':<14}{'':>24}{LIMIT:>8.2f}{100 * LOSS_LIMIT:>9.1f} %")
    labels = {f"{name}_semi" if name in METHODS else name for name in SEMISUP}
    # Not a teacher or a baseline: most of their passes have no gradient, so the bare passes would not be comparable.
    labels -= {"distill", "finetune", "linear"}
    rows = {**dict.fromkeys(OF_VIEWS, self_supervised), **dict.fromkeys(sorted(labels), semi_supervised)}
    rows["usb"] = beside_usb
    figures = [figure for name, row in rows.items() if name in (names or rows) for figure in row(name, pixels, device)]
    return ledger.close("training", figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
