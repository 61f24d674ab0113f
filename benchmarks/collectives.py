"""Counts what processes tell each other in a training step: calls, bytes, and the share of the time that goes into it.

For each number of processes torchrun starts so many on this machine, by gloo, one thread each; the global batch is the
same. `bytes` are those of the tensors that one process hands over in a step. `sent` is what a process sends by rings:
an all-reduce of s bytes over w processes 2 s (w - 1) / w, a gather of s bytes s (w - 1). The time in collectives is
rank 0's, and waiting for slower processes is in it. Where there are more processes than cores, it says how they wait
for each other and nothing of a network.

    python -m benchmarks.collectives
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as td

from benchmarks.training import BATCH, SIDE, STEPS, network, of_few_labels, without_labels
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.norm import synchronised
from pipeline.parallel import dist

METHODS, PROCESSES = ("simclr", "moco", "paws"), (1, 2, 4, 8)
PAWS = ("train.paws.num_unlabelled=64", "train.paws.per_class=8")


def learner(name: str, pixels: torch.Tensor, device: Device):
    if name != "paws":
        return without_labels(name, pixels, device)
    method, feed, optim = of_few_labels(name, network(pixels), pixels, 16, device, *PAWS)
    return synchronised(method, "train"), feed, optim


def one(name: str) -> dict[str, float]:
    """A few steps of `fit` in this process, the first of which does not count."""
    torch.manual_seed(0)
    device = Device(torch.device("cpu"), bf16=False)
    pixels = torch.randint(0, 256, (4096, 1, SIDE, SIDE), dtype=torch.uint8)
    method, feed, optim = learner(name, pixels, device)
    together, spent, own = dist._together, Counter[str](), dist.world()

    def counted(collective, *tensors):
        started = time.perf_counter()
        together(collective, *tensors)
        spent["seconds"] += time.perf_counter() - started
        tensor = tensors[-1] if isinstance(tensors[-1], torch.Tensor) else None
        if tensor is not None:
            size = tensor.numel() * tensor.element_size()
            gathers = getattr(collective, "func", collective) is td.all_gather
            spent["calls"] += 1
            spent["bytes"] += size
            spent["largest"] = max(spent["largest"], size)
            spent["sent"] += size * (own - 1) if gathers else 2 * size * (own - 1) / own

    def steps(count: int) -> float:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            given = {"num_steps": count, "seed": 0, "device": device, "state": Path(dist.from_first(folder))}
            fit(method, feed, optim, **given, save_seconds=1e9)
            dist.wait()
        return time.perf_counter() - started

    steps(1)
    dist._together = counted
    seconds = steps(STEPS)
    weights = sum(p.numel() * 4 for p in method.parameters() if p.requires_grad)
    return {name: value / STEPS for name, value in {**spent, "step": seconds, "seconds": spent["seconds"]}.items()} | {
        "weights": weights,
        "largest": spent["largest"],
    }


def main(names: list[str]) -> None:
    if names[:1] == ["--one"]:
        with dist.processes():
            found = one(names[1])
            if dist.rank() == 0:
                print(json.dumps(found), flush=True)
        return
    print(f"batch of {BATCH} over all processes, {STEPS} steps; a step")
    print(
        f"{'method':10}{'processes':>10}{'seconds':>9}{'waits':>8}{'calls':>7}{'KB':>9}{'KB sent':>9}{'gradients':>15}"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in names or METHODS:
        for count in PROCESSES:
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            command = [*launch, "-m", "benchmarks.collectives", "--one", name]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.splitlines()[-1]}")
            f = json.loads(done.stdout.splitlines()[-1])
            share = f"{100 * f['seconds'] / f['step']:.0f} %"
            kb = [f.get(key, 0) / 1e3 for key in ("bytes", "sent", "weights")]
            sizes = f"{kb[0]:9.0f}{kb[1]:9.0f}{kb[2]:15.0f}"
            print(f"{name:10}{count:10}{f['step']:9.2f}{share:>8}{f.get('calls', 0):7.0f}{sizes}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
