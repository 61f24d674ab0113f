"""How long the stages will take, from what a few images take now, with whatever else the machine has to do."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, cycle, takewhile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from pipeline.base.errors import SourceError
from pipeline.base.params import Params
from pipeline.embed.run import EmbedParams
from pipeline.ingest.pack import CHUNK, encoding
from pipeline.ingest.run import SIDE
from pipeline.nn.backbones import BACKBONES, Backbone
from pipeline.nn.device import Device, channels_last
from pipeline.nn.embedder import look, widths
from pipeline.parallel.cores import cores
from pipeline.parallel.threads import map_in_order
from pipeline.recipe.look import Pictures
from pipeline.shards.decode import BadImage, decode, read_file

IMAGES = 8  # that are timed, again and again
SECONDS = (
    1.5  # for which each kind of work is timed: on a busy machine a shorter burst is fast, and what is long is not
)
LISTED = 1e-4  # seconds in which one image is listed, and written to a tar and its index: one core's work
BEFORE = ("params", "ingest", "pretrain", "embed", "graph", "select", "label")  # up to the page that asks for labels
AFTER = ("train", "evaluate", "report")
START = "import pipeline.embed.run, dvc.repo"  # what each stage waits for, and dvc between two of them
PARALLEL = partial(map_in_order, chunk=1)
T = TypeVar("T")


def seconds(pictures: Pictures, params: Params) -> dict[str, float]:
    """Seconds of each stage, where no network is trained; to spread labels is short beside the start of `train`.

    A network that is trained says itself how long it takes, after its first steps.
    """
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", START], check=True, capture_output=True)
    start = time.perf_counter() - begin
    tree, size = params.tree, params.lookup("ingest.size")
    channels = 1 if params.lookup("ingest.mode") == "grey" else 3
    if size == "auto":
        size = min(pictures.side, SIDE)
    files = readable(pictures.sample[:: max(1, len(pictures.sample) // IMAGES)], channels)[:IMAGES]
    with encoding(pictures.count, channels, params.lookup("ingest.max_side")) as encode:
        list(PARALLEL(encode, [[]] * cores()))  # waits until all are there
        packing = _each(encode, [[str(file)] * CHUNK for file in files]) / CHUNK
    data = [read_file(file) for file in files]
    decoding = _each(lambda one: decode(one, channels, (size, size)), data)
    images = np.stack([decode(one, channels, (size, size)) for one in data])
    net = network(tree["pretrain"], channels)
    device = Device.choose("fp32")
    net, pixels = channels_last(net.to(device.device)), torch.from_numpy(images).to(device.device)
    views = list(widths(net, params.block("embed", EmbedParams).views, images.shape[1:]))[1:]
    with torch.inference_mode():
        look(net, views, pixels)  # the first pass allocates
        seeing = _each(lambda part: look(net, views, part).cpu(), [pixels], run=map) / len(pixels)
    each = {"ingest": packing + LISTED, "embed": decoding + seeing}
    return {stage: start + pictures.count * each.get(stage, 0) for stage in (*BEFORE, *AFTER)}


def readable(files: Sequence[Path], channels: int) -> list[Path]:
    """Those that decode to the end. Raises SourceError where none does."""
    sound = []
    for file in files:
        with suppress(BadImage):  # ingest will name it
            decode(read_file(file), channels)
            sound.append(file)
    if not sound:
        raise SourceError(f"{files[0]}: expected an image that can be read to its end; of {len(files)} none can")
    return sound


def network(pretrain: Mapping[str, Any], channels: int) -> Backbone:
    """The backbone of the params, with weights of no use: they change no time."""
    name = pretrain["backbone"]
    unset = torch.zeros(channels), torch.ones(channels)
    return Backbone(name, BACKBONES[name](**pretrain["backbones"][name]), *unset).eval()


def _each(work: Callable[[T], object], things: Sequence[T], run: Callable[..., Iterable[object]] = PARALLEL) -> float:
    """Seconds for one of these things, when the work on them goes on."""
    begin = time.perf_counter()
    more = takewhile(lambda _: time.perf_counter() < begin + SECONDS, cycle(things))
    done = sum(1 for _ in run(work, chain(things, more)))
    return (time.perf_counter() - begin) / done
