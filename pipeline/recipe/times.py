"""How long the stages will take, from what a few images take now."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from pipeline.base.errors import SourceError
from pipeline.base.params import Params
from pipeline.embed.run import EmbedParams
from pipeline.ingest.run import SIDE
from pipeline.nn.backbones import BACKBONES, Backbone
from pipeline.nn.device import Device, channels_last
from pipeline.nn.embedder import look
from pipeline.parallel.cores import cores
from pipeline.recipe.look import Pictures
from pipeline.shards.decode import BadImage, decode, normalise, read_file

IMAGES = 8  # that are timed
BEFORE = ("params", "ingest", "pretrain", "embed", "graph", "select", "label")  # up to the page that asks for labels
AFTER = ("train", "evaluate", "report")
START = "import pipeline.embed.run, dvc.repo"  # what each stage waits for, and dvc between two of them
T = TypeVar("T")


def seconds(pictures: Pictures, params: Params) -> dict[str, float]:
    """Seconds of each stage, where no network is trained; to spread labels is short beside the start of `train`.

    A network that is trained says itself how long it takes, after its first steps.
    """
    start = _timed(lambda: subprocess.run([sys.executable, "-c", START], check=True, capture_output=True))[0]
    tree, size = params.tree, params.lookup("ingest.size")
    channels = 1 if params.lookup("ingest.mode") == "grey" else 3
    if size == "auto":
        size = min(pictures.side, SIDE)
    data = readable(pictures.sample[:: max(1, len(pictures.sample) // IMAGES)], channels)[:IMAGES]
    pack = _timed(lambda: [normalise(one, channels, params.lookup("ingest.max_side")) for one in data])[0]
    decoding, images = _timed(lambda: np.stack([decode(one, channels, (size, size)) for one in data]))
    net = network(tree["pretrain"], channels)
    views, device = params.block("embed", EmbedParams).views[1:], Device.choose("fp32")
    net, pixels = channels_last(net.to(device.device)), torch.from_numpy(images).to(device.device)
    with torch.inference_mode():
        look(net, views, pixels)  # the first pass allocates
        seeing = _timed(lambda: look(net, views, pixels).cpu())[0]
    each = {"ingest": pack / cores(), "embed": decoding / cores() + seeing}
    return {stage: start + pictures.count * each.get(stage, 0) / len(data) for stage in (*BEFORE, *AFTER)}


def readable(files: Sequence[Path], channels: int) -> list[bytes]:
    """The bytes of those that decode to the end. Raises SourceError where none does."""
    data = []
    for file in files:
        with suppress(BadImage):  # ingest will name it
            decode(found := read_file(file), channels)
            data.append(found)
    if not data:
        raise SourceError(f"{files[0]}: expected an image that can be read to its end; of {len(files)} none can")
    return data


def network(pretrain: Mapping[str, Any], channels: int) -> Backbone:
    """The backbone of the params, with weights of no use: they change no time."""
    name = pretrain["backbone"]
    unset = torch.zeros(channels), torch.ones(channels)
    return Backbone(name, BACKBONES[name](**pretrain["backbones"][name]), *unset).eval()


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result
