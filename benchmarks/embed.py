"""Times the stage `embed` with one process and with two, one thread each, by the seconds in its log (without start-up).

The data is Fashion-MNIST in shards of 2,000 images, the network a small ResNet. The floor for two processes is half the
time of one. The bare forward pass of one thread, over images in memory, is printed beside it. Then photographs, by the
weights that come with the install: the stage from shards, beside timm's loader and loop from the same files, both on
one core, in turn. Exits as `benchmarks.ledger` says.

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

from benchmarks import ledger
from benchmarks.ledger import Figure
from benchmarks.reading import CROP, IMAGES, pictures
from pipeline.artifacts.shards import Index, Manifest
from pipeline.nn.classifier import read_backbone
from pipeline.pretrain.packaged import MODEL
from pipeline.shards.reader import load

LIMIT, ROUNDS, HOME = 1.7, 3, Path(__file__).parent.parent
SETS = ("ingest.source=fashion-mnist", "ingest.shard_images=2000", "pretrain.steps=1", "machine.precision=fp32")
SETS += ("pretrain.backbones.small_resnet.stem_stride=2",)
ONE = ("taskset", "-c", "0")
# timm's loader and loop without its start, as its validate.py makes them: the figure that it prints is of seconds.
TIMM = """
import sys, time, torch
from pipeline.base.torchvision_import import torchvision
torchvision()
import timm
from timm.data import create_dataset, create_loader
name, folder, side = sys.argv[1:]
torch.set_num_threads(1)
net = timm.create_model(name, num_classes=0).eval()
data = create_dataset("", folder)
start = time.perf_counter()
loader = create_loader(data, (3, int(side), int(side)), 16, num_workers=1, use_prefetcher=False)
with torch.inference_mode():
    for images, _ in loader:
        net(images)
print(time.perf_counter() - start)
"""


def stage(name: str, folder: Path, launch: tuple[str, ...] = (), sets: tuple[str, ...] = SETS) -> None:
    sets = tuple(word for item in sets for word in ("--set", item))
    environment = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    command = [*launch, sys.executable] if launch[:1] == ("taskset",) else [sys.executable, *launch]
    command += ["-m", f"stages.{name}", "--params", str(HOME / "params.yaml"), *sets]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def seconds(folder: Path, launch: tuple[str, ...], sets: tuple[str, ...] = SETS) -> float:
    stage("embed", folder, launch, sets)
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


def beside_timm() -> float:
    """How many times as fast as timm the stage is: the median of the rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder)
        sets = ("ingest.source=folder", f"ingest.folder.path={folder}/files", f"ingest.size={CROP}", "ingest.mode=rgb")
        sets += ("pretrain.method=none", "pretrain.backbone=timm", f"pretrain.backbones.timm.model={MODEL}")
        sets += ("pretrain.none.weights=packaged", "machine.precision=fp32")
        for step in ("ingest", "pretrain"):
            stage(step, folder, sets=sets)
        peer = [*ONE, sys.executable, "-c", TIMM, MODEL, str(folder / "files"), str(CROP)]

        def theirs() -> float:
            return float(subprocess.run(peer, check=True, capture_output=True, text=True).stdout)

        times = [(seconds(folder, ONE, sets), theirs()) for _ in range(ROUNDS)]
    ours, other = (IMAGES / statistics.median(column) for column in zip(*times, strict=True))
    print(f"photographs of {CROP} x {CROP} by {MODEL}, one core: {ours:.0f} images/s, timm's loop {other:.0f}")
    return statistics.median(b / a for a, b in times)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in ("ingest", "pretrain"):
            stage(step, folder)
        two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
        times = [(seconds(folder, ONE), seconds(folder, two)) for _ in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in times)
        alone, both = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"one process {alone:.2f} s, two {both:.2f} s: {ratio:.2f} times as fast (limit {LIMIT})", flush=True)
        print(f"the bare forward passes of one thread: {bare(folder):.2f} s")
        os.chdir(HOME)
    return ledger.close(
        "embed", [Figure("two processes, of one", ratio, LIMIT), Figure("photographs, of timm", beside_timm(), 1.0)]
    )


if __name__ == "__main__":
    sys.exit(main())
