"""Compares reading from shards (decoded, cropped and flipped as in pretraining) with ImageFolder and webdataset.

Each reads the same JPEGs of 256 x 256 pixels on one thread and cuts crops of 224 x 224 by the same rule; a bare decode
is measured too. They run in turn in one process, so a busy machine slows all of them; a ratio is the median over the
rounds. Reading without decoding is measured as well: by offset in random order, and by webdataset's plain loop. Last,
an epoch of ImageNet's size is started: the index is read, the shards are compared by size, and the first image of the
first batch is read. Exits as `benchmarks.ledger` says.

    python -m benchmarks.reading
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks import ledger
from benchmarks.ledger import Figure
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.params import Params
from pipeline.base.torchvision_import import torchvision
from pipeline.shards.decode import crop_and_resize, quiet
from pipeline.shards.reader import Reader
from pipeline.views.chance import Chance
from pipeline.views.kinds import ContrastiveView, Crops
from tests.shards.tar_set import made

IMAGES, SIDE, CROP, SHARD, ROUNDS, RAW_TIMES = 512, 256, 224, 128, 5, 4
FOLDER_LIMIT, RAW_LIMIT = 1.0, 2.0  # times ImageFolder's images, webdataset's bytes
ROWS, SHARDS, BATCH, START_LIMIT = 1_281_167, 1_000, 4_096, 2.0  # CPU seconds


def pictures(folder: Path) -> tuple[Manifest, Index]:
    """Parts of two photographs as JPEGs, in a folder for ImageFolder and in tars."""
    chance, photos = np.random.default_rng(0), load_sample_images().images
    (folder / "files" / "a").mkdir(parents=True)
    (folder / "tars").mkdir()
    images = []
    for number in range(IMAGES):
        top, left = chance.integers(0, 427 - SIDE), chance.integers(0, 640 - SIDE)
        file = folder / f"files/a/{number:06d}.jpg"
        Image.fromarray(photos[number % 2][top : top + SIDE, left : left + SIDE]).save(file, quality=90)
        images.append((f"{number:020x}", "train", file.read_bytes(), "jpg"))
    return made(images, folder / "tars", SHARD, (CROP, CROP), 3)


def loops(folder: Path, manifest: Manifest, index: Index) -> dict[str, Callable[[], int]]:
    """Each loop goes over all images once and returns their number."""
    view = Params.read(Path("params.yaml"), ("pretrain.view.flip=0.5",)).block("pretrain.view", ContrastiveView)
    reader, tars = Reader(manifest, index, "train"), [shard.path for shard in manifest.splits["train"]]
    order = reader.order(1, 0, "bench")
    data = [reader.read(number, bytes) for number in range(len(reader))]
    torchvision()
    from torchvision import datasets, transforms

    scale = (view.crop_min, view.crop_max)
    alike = [transforms.RandomResizedCrop(CROP, scale), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    transform = transforms.Compose(alike)

    def view_of(crops: Crops, i: int, jpeg: bytes) -> list[np.ndarray]:
        return crop_and_resize(jpeg, 3, lambda width, height: [crops.box(i, width, height)], [(CROP, CROP)])

    def ours() -> int:
        rows = order.batch(0, len(reader)).tolist()
        crops = view.crops(len(rows), Chance(0))
        out = np.empty((3, CROP, CROP), np.uint8)
        for i, row in enumerate(rows):
            (part,) = reader.read(row, partial(view_of, crops, i))
            out[:] = part[:, :, ::-1] if crops.flipped[i] else part
        return len(rows)

    def image_folder() -> int:
        files = datasets.ImageFolder(str(folder / "files"), transform)
        return sum(len(files[i][0]) == 3 for i in order.batch(0, len(files)).tolist())

    def of_webdataset() -> int:
        found = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).shuffle(SHARD).decode("pil")
        return sum(len(transform(image)) == 3 for (image,) in found.to_tuple("jpg"))

    def bare() -> int:
        for one in data:
            Image.open(BytesIO(one)).load()
        return len(data)

    def raw() -> int:
        return sum(reader.read(row, len) > 0 for step in range(RAW_TIMES) for row in order.batch(step, len(reader)))

    def raw_webdataset() -> int:
        found = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).repeat(RAW_TIMES).to_tuple("jpg")
        return sum(len(one) > 0 for (one,) in found)

    named = {"shards, this reader": ours, "ImageFolder": image_folder, "webdataset": of_webdataset}
    return {**named, "bare decode": bare, "bytes, this reader": raw, "bytes, webdataset": raw_webdataset}


def speed(loop: Callable[[], int]) -> float:
    """Images per CPU second."""
    began = time.process_time()
    return loop() / (time.process_time() - began)


def index_of_imagenet(folder: Path) -> None:
    """An index and a manifest of its size; the shards exist and have their sizes, but no content."""
    chance = np.random.default_rng(0)
    shard, size = np.sort(chance.integers(0, SHARDS, ROWS)), chance.integers(10_000, 200_000, ROWS)
    names = [str(folder / f"train-{number:06d}.tar") for number in range(SHARDS)]
    offset, order = 512 * np.arange(ROWS), chance.permutation(ROWS)
    keys = [f"{key:020x}" for key in range(ROWS)]
    placed_in = [names[number] for number in shard[order]]
    Index(keys, ["train"] * ROWS, placed_in, offset[order], size).write(folder / "index.parquet")
    shards = [Shard(name, 10**9, "", int(count)) for name, count in zip(names, np.bincount(shard), strict=True)]
    for name in names:
        with Path(name).open("wb") as file:
            file.truncate(10**9)
    Manifest("made", 3, (CROP, CROP), {"train": shards}, []).write(folder / "manifest.json")


def start(folder: Path) -> dict[str, float]:
    """CPU seconds until the first image of an epoch is read, the share of the index in them, and MB of memory."""
    before = memory("VmRSS")
    began = time.process_time()
    manifest, index = Manifest.read(folder / "manifest.json"), Index.read(folder / "index.parquet", "train")
    read = time.process_time()
    with closing(Reader(manifest, index, "train")) as reader:
        rows = reader.order(1, 0, "bench").batch(0, BATCH)
        reader.read(int(rows[0]), len)
        first = time.process_time()
        after, peak = memory("VmRSS"), memory("VmHWM")
    return {"index": read - began, "all": first - began, "peak": peak - before, "kept": after - before}


def memory(kind: str) -> float:
    """MB of memory of this process: VmRSS is the present value, VmHWM the maximum so far."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[kind].split()[0]) / 1024


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    if arguments:
        print(json.dumps(start(Path(arguments[0]))))
        return 0
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        runs = loops(folder, *pictures(folder))
        rounds = [{what: speed(loop) for what, loop in runs.items()} for _ in range(ROUNDS + 1)][1:]
        (folder / "large").mkdir()
        index_of_imagenet(folder / "large")
        command = [sys.executable, "-m", "benchmarks.reading", str(folder / "large")]
        begun = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    medians = {what: statistics.median(one[what] for one in rounds) for what in runs}

    def ratio(one: str, other: str) -> float:
        return statistics.median(each[one] / each[other] for each in rounds)

    for what, images in medians.items():
        print(f"{what:<24}{images:>10.0f} images/CPU s")
    print(f"{ROWS:,} images: an epoch begins after {begun['all']:.2f} CPU s (limit {START_LIMIT}), the index's "
          f"{begun['index']:.2f} among them; memory {begun['kept']:.0f} MB, at most {begun['peak']:.0f}")  # fmt: skip
    ours, raw = "shards, this reader", "bytes, this reader"
    figures = (
        Figure("decoded, of ImageFolder", ratio(ours, "ImageFolder"), FOLDER_LIMIT),
        Figure("decoded, of webdataset", ratio(ours, "webdataset")),
        Figure("decoded, of the bare decode", ratio(ours, "bare decode")),
        Figure("bytes, of webdataset", ratio(raw, "bytes, webdataset"), RAW_LIMIT),
        Figure("begin of an epoch, of 2 CPU s", START_LIMIT / begun["all"], 1.0),
    )
    return ledger.close("reading", figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
