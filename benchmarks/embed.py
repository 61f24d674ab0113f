"""Times the stage `embed` with one process and with two, one thread each, by the seconds in its log (without start-up).

The data is Fashion-MNIST in shards of 2,000 images, the network a small ResNet. The floor for two processes is half the
time of one. The bare forward pass of one thread, over images in memory, is printed beside it. Exits with 1 if two
processes are slower than the limit allows.

    python -m benchmarks.embed
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from pipeline.artifacts.shards import Index, Manifest
from pipeline.nn.classifier import read_backbone
from pipeline.shards.reader import load

LIMIT, ROUNDS, HOME = 1.7, 3, Path(__file__).parent.parent
SETS = ("ingest.source=fashion-mnist", "ingest.shard_images=2000", "pretrain.steps=1", "machine.precision=fp32")
SETS += ("pretrain.backbones.small_resnet.stem_stride=2",)


def stage(name: str, folder: Path, launch: tuple[str, ...] = ()) -> None:
    sets = [word for item in SETS for word in ("--set", item)]
    environment = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    command = [*launch, sys.executable] if launch[:1] == ("taskset",) else [sys.executable, *launch]
    command += ["-m", f"stages.{name}", "--params", str(HOME / "params.yaml"), *sets]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def seconds(folder: Path, launch: tuple[str, ...]) -> float:
    stage("embed", folder, launch)
    return float(json.loads((folder / "data/logs/embed.json").read_text())["seconds"])


def bare(folder: Path) -> float:
    """Seconds that one thread needs for the forward passes alone."""
    torch.set_num_threads(1)
    data = folder / "data"
    manifest, index = Manifest.read(data / "ingest/manifest.json"), Index.read(data / "ingest/index.parquet")
    os.chdir(folder)
    images = [load(manifest, index, split, "").pixels for split in manifest.splits]
    net = read_backbone(data / "pretrain").eval()
    start = time.perf_counter()
    with torch.inference_mode():
        for pixels in images:
            for part in pixels.split(500):
                net(part)
    return time.perf_counter() - start


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in ("ingest", "pretrain"):
            stage(step, folder)
        one = ("taskset", "-c", "0")
        two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
        times = [(seconds(folder, one), seconds(folder, two)) for _ in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in times)
        alone, both = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"one process {alone:.2f} s, two {both:.2f} s: {ratio:.2f} times as fast (limit {LIMIT})", flush=True)
        print(f"the bare forward passes of one thread: {bare(folder):.2f} s")
        os.chdir(HOME)
    return 0 if ratio >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
