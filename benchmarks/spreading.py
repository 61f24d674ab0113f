"""Seconds and peak memory of propagation by phase, on synthetic vectors.

The vectors are a seeded mixture of Gaussians, one for each class, so the accuracy says nothing. Labels are drawn at
random. Runs in one process, with the values of params.yaml. Indented phases are parts of `propagate`.

    python -m benchmarks.spreading --images 60000 --classes 10 --labels 40
    python -m benchmarks.spreading --images 1281167 --classes 1000 --labels 10000
"""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch

from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.graph import left_out, probe, propagation
from pipeline.graph.affinity import Affinity
from pipeline.graph.propagation import PropagateParams
from pipeline.graph.run import GraphParams, nearest_others

T = TypeVar("T")


def mixture(n: int, num_classes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, dim) in float32 and the class of each."""
    chance = rng.stream(0, "bench", "spreading")
    centres = chance.standard_normal((num_classes, dim), np.float32)
    y = chance.integers(num_classes, size=n)
    x = centres[y]
    x += chance.standard_normal((n, dim), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, y


def timed(name: str, step: Callable[..., T]) -> Callable[..., T]:
    """The step, which then prints its wall and processor seconds and the peak memory at its end."""

    def inner(*given: Any) -> T:
        start, used = time.perf_counter(), time.process_time()
        result = step(*given)
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"{name:26} {wall:8.1f} s {cpu:8.1f} s of processors   peak {peak:6.0f} MB")
        return result

    return inner


@click.command(help=__doc__)
@click.option("--images", type=int, default=60_000)
@click.option("--classes", type=int, default=10)
@click.option("--labels", type=int, default=40)
@click.option("--dim", type=int, default=128)
def main(images: int, classes: int, labels: int, dim: int) -> None:
    params = Params.read(Path("params.yaml"))
    graph, values = params.stage("graph", GraphParams), params.block("train.propagate", PropagateParams)
    x, y = mixture(images, classes, dim)
    for module, name in (
        (propagation, "spread"),
        (propagation, "sinkhorn"),
        (propagation, "leave_out"),
        (left_out, "at_images"),
        (probe, "left_out"),
        (propagation, "masses"),
        (propagation, "accuracy"),
    ):
        setattr(module, name, timed(f"  {module.__name__.split('.')[-1]}.{name}", getattr(module, name)))
    start = time.perf_counter()
    neighbours, about = timed("neighbours", nearest_others)(x, graph.neighbours, graph.search)
    affinity = timed("affinity", Affinity.of)(neighbours, torch.device("cpu"))
    rows = np.sort(rng.stream(0, "bench", "labels").choice(images, labels, replace=False))
    result = timed("propagate", propagation.propagate)(x, affinity, rows, y[rows], classes, values)
    number, _ = timed("classes of all images", result.best)(x)
    click.echo(json.dumps({**about, "top1": float((number == y).mean()), "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
