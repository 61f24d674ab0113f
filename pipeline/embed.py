"""Every image of a split to one unit vector, a shard at a time: memory is a shard's, and a kill costs one shard."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from numpy import ndarray
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts import Embeddings, Index, Manifest
from pipeline.data.reader import read_shard
from pipeline.files import whole_file
from pipeline.nn.backbones import Backbone
from pipeline.nn.device import Device, Precision
from pipeline.params import Block


class EmbedParams(Block):
    """The block `embed`."""

    batch_size: int = Field(ge=1)
    precision: Precision


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
) -> Embeddings:
    """The vectors of a split, sorted by key: of unit length, or features as they are.

    Shards whose vectors lie in `parts` already are not read again.
    """
    keys: list[str] = []
    vectors = [np.empty((0, net.dim), np.float32)]
    for number, shard in enumerate(tqdm(manifest.splits[split], desc=f"embed {split}", disable=None, unit="shard")):
        file = parts / f"{split}-{number:06d}.npy"
        if not file.exists():
            images = read_shard(manifest, index, split, shard)
            with whole_file(file) as part, part.open("wb") as opened:
                np.save(opened, embed(net, images.pixels, params.batch_size, device, unit=unit))
        keys += [
            key
            for key, s, path in zip(index.key, index.split, index.shard, strict=True)
            if (s, path) == (split, shard.path)
        ]
        vectors.append(np.load(file))
    order = np.argsort(np.array(keys, dtype=str), kind="stable")
    return Embeddings([keys[i] for i in order], np.concatenate(vectors)[order])


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
