"""Measures pretraining, embedding, FixMatch and selection on one GPU in a few minutes, each beside its bare limit.

First the steps of a small network on images of 28 x 28: their milliseconds, and those in which the GPU was busy. Then
the network is ResNet-50 at 224 x 224, in the precision that `auto` chooses. Images are on the device from the start, so
disks and JPEGs do not count. The bare limit of training is forward, backward and the optimiser's step of the same
passes; that of embedding is the forward pass; that of selection by `auto` is the product of all vectors with all
centroids, once for each iteration, restart and level; USL and TypiClust are timed alone. Training is also measured
compiled. `--tiny` runs everything with small sizes on any machine, to check that it works; benchmarks/gpu.sh runs this
and what else a GPU is needed for.

    python -m benchmarks.gpu
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks import training
from benchmarks.select import IMAGENET, vectors
from benchmarks.training import STEPS, bare, few_labels, medians, passes, trained, wait
from pipeline.base.errors import first_line
from pipeline.base.params import Params
from pipeline.embed.run import embed
from pipeline.nn.backbones import BACKBONES, Backbone, fresh
from pipeline.nn.compute import reduce_cost
from pipeline.nn.device import Device
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.recipe import Recipe
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool
from pipeline.vectors import clustering


def small_step(name: str, pixels: Tensor, device: Device) -> None:
    """Milliseconds of a step of `fit`, and how long the GPU (on a machine without one, the CPU) computed in it."""
    if name == "fixmatch":
        net = training.network(pixels.cpu())
        learning = training.of_few_labels(name, net, pixels, 16, device)
    else:
        learning = training.without_labels(name, pixels, device)
    run = trained(*learning, device)
    (wall,), _ = medians(run)
    on_gpu = device.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        run()
    events = profiled.key_averages()
    busy = sum(event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in events) / 1e6
    print(
        f"step of {name:<27}{1000 * wall / STEPS:>9.2f} ms{1000 * busy / STEPS:>9.2f} ms busy{wall / busy:>7.1f} times"
    )


def network(pixels: Tensor) -> Backbone:
    torch.manual_seed(0)
    return fresh("resnet50", BACKBONES["resnet50"](small_stem=False), pixels[:64].cpu())


def line(name: str, speed: float, ratio: float) -> None:
    print(f"{name:<34}{speed:>12.0f}{speed / ratio:>12.0f}{ratio:>8.2f}", flush=True)


def pretraining(pixels: Tensor, device: Device, batch_size: int, *, compiled: bool) -> None:
    """MoCo, which counts two views for each image."""
    recipe = Recipe.read(Params.read(Path("params.yaml"), (f"pretrain.batch_size={batch_size}",)))
    net, floor = network(pixels), network(pixels).to(device.device)
    method = recipe.learner(net, len(pixels), (pixels.shape[2], pixels.shape[3]), device, pixels)
    reduce_cost(method, compiled=compiled, recompute=False)
    feed = Feed(pixels, recipe.common.views, recipe.common.local, batch_size, 0)
    limit = bare(floor, passes(method, feed(0)), device)
    times, (ratio,) = medians(trained(method, feed, recipe.common.optim, device), limit)
    line(f"pretrain, moco{', compiled' if compiled else ''}", 2 * batch_size * STEPS / times[0], ratio)


def embedding(pixels: Tensor, device: Device) -> None:
    """The function of the stage, and the forward pass alone."""
    net = network(pixels).to(device.device).eval()

    def alone() -> None:
        with torch.inference_mode(), device.autocast():
            for part in pixels.split(500):
                net(part)
        wait(device)

    times, (ratio,) = medians(lambda: embed(net, pixels, 500, device), alone)
    line("embed", len(pixels) / times[0], ratio)


def fixmatch(pixels: Tensor, device: Device, batch_size: int, *sets: str) -> None:
    """FixMatch, which counts all views."""
    nets = network(pixels), network(pixels)
    speed, ratio = few_labels("fixmatch", *nets, pixels, batch_size, device, *sets)
    line(f"train, fixmatch{', compiled' if sets else ''}", speed, ratio)


def selection(num_images: int, budget: int, device: Device) -> None:
    """`auto`, once, and the products that its k-means needs at least, by torch on the same device."""
    params = Params.read(Path("params.yaml"), IMAGENET)
    x = vectors(num_images)
    pool = Pool.of(x, params.stage("select", SelectParams, SELECTORS).search)
    for name in ("usl", "typiclust"):
        start = time.perf_counter()
        params.block(f"select.{name}", SELECTORS[name]).select(pool, budget, 0)
        print(f"select, {name}: {time.perf_counter() - start:.1f} s", flush=True)
    selector = params.block("select.auto", SELECTORS["auto"])
    start = time.perf_counter()
    found = selector.select(pool, budget, 0)
    seconds = time.perf_counter() - start
    on, centroids = torch.from_numpy(x).to(device.device), torch.from_numpy(x[:budget]).to(device.device)
    start = time.perf_counter()
    for part in on.split(65536):
        (part @ centroids.T).argmax(dim=1)
    wait(device)
    once = time.perf_counter() - start
    times = selector.iterations * found.about["restarts"]
    print(f"select, auto: {budget:,} of {num_images:,} x {x.shape[1]}: {seconds:.1f} s; all vectors with all centroids")
    print(f"once {once:.2f} s, {times} times {once * times:.1f} s (large budgets have two levels, which need fewer)")
    print(f"FAISS {clustering.version()}, {'on the GPU' if clustering.on_gpu(1) else 'on the CPU'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small sizes, on a CPU too")
    tiny = parser.parse_args().tiny
    if not tiny and not torch.cuda.is_available():
        print("benchmarks.gpu: expected a CUDA device, found none; --tiny runs anywhere", file=sys.stderr)
        return 1
    device = Device.choose("auto")
    name = torch.cuda.get_device_name() if device.device.type == "cuda" else "CPU"
    side, num_images, batch_size = (32, 64, 16) if tiny else (224, 4096, 256)
    print(f"{name}; torch {torch.__version__}; {'bf16' if device.bf16 else 'fp32'}; ResNet-50, {side} x {side}")
    print(f"{'images a second':<34}{'':>12}{'bare':>12}{'ratio':>8}", flush=True)
    pixels = torch.randint(0, 256, (num_images, 3, side, side), dtype=torch.uint8).to(device.device)
    few = batch_size // 8  # with seven unlabelled images in two views for each: about as many views as pretraining
    grey = torch.randint(0, 256, (4096, 1, 28, 28), dtype=torch.uint8).to(device.device)
    steps: list[Callable[[], None]] = [
        *(partial(small_step, name, grey, device) for name in ("simclr", "moco", "byol", "fixmatch")),
        lambda: pretraining(pixels, device, batch_size, compiled=False),
        lambda: embedding(pixels, device),
        lambda: fixmatch(pixels, device, few),
        lambda: selection(*((20_000, 200) if tiny else (1_281_167, 12_820)), device),
    ]
    if not tiny:
        steps += [
            lambda: pretraining(pixels, device, batch_size, compiled=True),
            lambda: fixmatch(pixels, device, few, "machine.compile=true"),
        ]
    failed = 0
    for step in steps:
        try:
            step()
        except RuntimeError as error:  # torch lacks memory or a kernel: the other figures are still wanted
            print(f"failed: {first_line(error)}", flush=True)
            failed = 1
    if device.device.type == "cuda":
        print(f"at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory were in use")
    return failed


if __name__ == "__main__":
    sys.exit(main())
