"""The stage `embed`: every image to one unit vector, a shard at a time; memory is two shards', a kill costs one.

First each view of the images is stored as it is seen. Of several processes each takes its share of the shards. Then the
first process centres and joins the views. What comes out is the same, to the byte, for any number of processes with as
many threads each.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from numpy import ndarray
from pydantic import Field, field_validator
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import TrainingError
from pipeline.base.files import whole_file
from pipeline.base.machine import Machine, Reading
from pipeline.base.params import Block, Params
from pipeline.embed.constants import fit
from pipeline.embed.own import Own
from pipeline.embed.tables import check_finite, join, rows_in
from pipeline.nn.classifier import read_backbone
from pipeline.nn.device import Device
from pipeline.nn.embedder import BACKBONE, INTERMEDIATE, look, widths
from pipeline.nn.pass_size import images_a_pass
from pipeline.parallel import dist
from pipeline.parallel.heap import keep_freed_memory
from pipeline.parallel.work import resumable
from pipeline.shards.reader import read_shard

log = logging.getLogger(__name__)


class EmbedParams(Block):
    """The block `embed`."""

    batch_size: int = Field(ge=1)  # images in a pass, at most: `images_a_pass`
    views: tuple[Literal["backbone", "intermediate", "pixels", "hog"], ...]
    dim: int = Field(ge=1)  # that a view keeps, at most
    own: str  # a file of further vectors, or ""

    @field_validator("views")
    @classmethod
    def _backbone_first(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if views[:1] != (BACKBONE,) or len(set(views)) < len(views):
            raise ValueError("backbone first, and each view once")
        return views


def embed_split(
    net: Callable[[Tensor], Tensor],
    manifest: Manifest,
    index: Index,
    split: str,
    batch_size: int,
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
            found = embed(net, images.pixels, batch_size, device, unit=unit)
            check_finite(found, images.keys, shards[number].path)
            with whole_file(files[number]) as part, part.open("wb") as opened:
                np.save(opened, found)
            del images, found  # before another shard is read
    dist.wait()
    return files


@torch.inference_mode()
def embed(
    net: Callable[[Tensor], Tensor],
    pixels: UInt8[Tensor, "n c h w"],
    batch_size: int,
    device: Device,
    *,
    unit: bool = True,
) -> Float32[ndarray, "n d"]:
    """Vectors of images by a network in eval mode: of unit length, but for a feature of zeros, or as they are."""
    rows = []
    for part in pixels.split(batch_size):
        with device.autocast():
            found = net(part.to(device.device)).float()
        rows.append((F.normalize(found, dim=1) if unit else found).cpu())
        keep_freed_memory()
    return torch.cat(rows).numpy()


def run(params: Params, ingest: Path, backbone: Path, out: Path) -> None:
    """Writes a folder with `vectors.npy` and `keys.txt` for each split, and what new images are embedded by.

    Shards that have been seen already are kept.
    """
    block, machine = params.stage("embed", EmbedParams), params.block("machine", Machine)
    files = [ingest / "manifest.json", ingest / "index.parquet"]
    with dist.processes():
        manifest, index = Manifest.read(files[0]), Index.read(files[1])
        device = Device.choose(machine.precision)
        net = read_backbone(backbone).to(device.device).eval()
        files += [backbone / "backbone.safetensors", backbone / "backbone.json"]
        own = Own(Path(block.own), index.key) if block.own and dist.rank() == 0 else None
        # Another number of processes may take up what these have done.
        shared = {name: value for name, value in device.about().items() if name != "processes"}
        about = {"images": sum(manifest.count(split) for split in manifest.splits), **device.about()}
        values = [block.model_dump(), shared]
        with resumable("embed", out, params=values, inputs=files, log=about) as (parts, folder):
            shape = manifest.channels, *manifest.size
            columns, done = widths(net, block.views, shape), {}
            if INTERMEDIATE in block.views and f"{INTERMEDIATE}1" not in columns:
                log.info("embed.views: intermediate is left out: %s has no maps before its features", net.about["name"])
            see, batch_size = partial(look, net, list(columns)[1:]), images_a_pass(net, shape, block.batch_size)
            for split in sorted(manifest.splits):
                done[split] = embed_split(
                    see, manifest, index, split, batch_size, device, parts, unit=False, reading=machine.reading
                )
            if folder is None:
                return
            training = rows_in(done["train"], manifest, index, "train")
            joined = fit(net, columns, block.dim, own, index.rows("train"), training)
            log.info("views: %s", ", ".join(f"{name} {weight:.2f}" for name, weight in joined.weights.items()))
            joined.embedder.write(folder, joined.about)
            for split, seen in done.items():
                (folder / split).mkdir()
                if manifest.count(split):
                    join(seen, manifest, index, split, folder / split, joined.vectors)
                else:
                    nothing = np.empty((0, sum(columns.values())), np.float32)
                    Embeddings([], joined.vectors(index.rows(split), nothing)).write(folder / split)
