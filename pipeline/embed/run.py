"""The stage `embed`: every image to one unit vector, a shard at a time; memory is two shards', a kill costs one.

Of several processes each takes its share of the shards; what comes out is the same, to the byte, for any number of them
with as many threads each.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from numpy import ndarray
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import TrainingError
from pipeline.base.files import whole_file
from pipeline.base.machine import Machine, Reading
from pipeline.base.params import Block, Params
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.parallel.work import resumable
from pipeline.shards.reader import read_shard


class EmbedParams(Block):
    """The block `embed`."""

    batch_size: int = Field(ge=1)


def embed_split(
    net: Backbone,
    manifest: Manifest,
    index: Index,
    split: str,
    params: EmbedParams,
    device: Device,
    parts: Path,
    *,
    unit: bool = True,
    reading: Reading | None = None,
) -> list[Path]:
    """Files with the vectors of each shard of a split, in the manifest's order; unless `unit`, features as they are.

    They lie in `parts`, a folder that all processes see; shards whose vectors are there already are not read again.
    """
    shards = manifest.splits[split]
    files = [parts / f"{split}-{number:06d}.npy" for number in range(len(shards))]
    if not parts.is_dir():
        raise TrainingError(f"{parts}: expected a folder that all processes see, found none")
    missing = dist.from_first([number for number, file in enumerate(files) if not file.exists()])
    todo = missing[dist.rank() :: dist.world()]
    bar = tqdm(todo, desc=f"embed {split}", disable=None if dist.rank() == 0 else True, unit="shard")
    with ThreadPoolExecutor(1) as pool:  # the next shard is read while one is computed
        read = partial(read_shard, manifest, index, split, reading=reading)
        coming = deque([pool.submit(read, shards[number]) for number in todo[:1]])
        for number, after in zip_longest(bar, todo[1:]):
            if after is not None:
                coming.append(pool.submit(read, shards[after]))
            images = coming.popleft().result()
            with whole_file(files[number]) as part, part.open("wb") as opened:
                np.save(opened, embed(net, images.pixels, params.batch_size, device, unit=unit))
            del images  # before another shard is read
    dist.wait()
    return files


def join(files: Sequence[Path], manifest: Manifest, index: Index, split: str, folder: Path) -> None:
    """Writes the vectors of the shards of a split as one table, sorted by key; one shard's are in memory at a time."""
    rows = [index.rows(split, shard.path) for shard in manifest.splits[split]]
    every = np.sort(np.concatenate(rows))
    blocks = ((np.searchsorted(every, own), np.load(file)) for own, file in zip(rows, files, strict=True))
    Embeddings.write_blocks(folder, index.keys_of(every), blocks)


@torch.inference_mode()
def embed(
    net: Backbone, pixels: UInt8[Tensor, "n c h w"], batch_size: int, device: Device, *, unit: bool = True
) -> Float32[ndarray, "n d"]:
    """Vectors of images, `net` being in eval mode: of unit length, but for a feature of zeros, or as they are."""
    rows = []
    for part in pixels.split(batch_size):
        with device.autocast():
            found = net(part.to(device.device)).float()
        rows.append((F.normalize(found, dim=1) if unit else found).cpu())
    return torch.cat(rows).numpy()


def run(params: Params, ingest: Path, backbone: Path, out: Path) -> None:
    """Writes a folder with `vectors.npy` and `keys.txt` for each split; shards that are embedded already are kept."""
    block, machine = params.stage("embed", EmbedParams), params.block("machine", Machine)
    files = [ingest / "manifest.json", ingest / "index.parquet"]
    with dist.processes():
        manifest, index = Manifest.read(files[0]), Index.read(files[1])
        device = Device.choose(machine.precision)
        net = read_backbone(backbone).to(device.device).eval()
        files += [backbone / "backbone.safetensors", backbone / "backbone.json"]
        # Another number of processes may take up what these have done.
        shared = {name: value for name, value in device.about().items() if name != "processes"}
        log = {"images": sum(manifest.count(split) for split in manifest.splits), **device.about()}
        values = [block.model_dump(), shared]
        with resumable("embed", out, params=values, inputs=files, log=log) as (parts, folder):
            for split in sorted(manifest.splits):
                vectors = embed_split(net, manifest, index, split, block, device, parts, reading=machine.reading)
                if folder is not None:
                    (folder / split).mkdir()
                    join(vectors, manifest, index, split, folder / split)
