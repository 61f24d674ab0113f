"""The views of the same images for any step, where not all fit in memory: decoded and cropped ahead, in threads."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.base.machine import Reading
from pipeline.parallel import dist
from pipeline.parallel.threads import map_in_order
from pipeline.pretrain.feed import LOCAL, Views
from pipeline.shards.by_step import ByStep
from pipeline.shards.decode import Box, crop_and_resize, decode
from pipeline.shards.order import ShardOrder
from pipeline.shards.prefetch import Job, Prefetcher, buffer
from pipeline.shards.reader import Reader
from pipeline.views.chance import Chance
from pipeline.views.kinds import ContrastiveView, Crops, LocalCrops


class StreamedFeed:
    """The batch of any step, as a function of (seed, step), from the shards; it draws what `Feed` would.

    Crops are cut from each picture at its own resolution and resized, antialiased, to `manifest.size`, as bytes; their
    colours change on the device. Of pictures that have that size already the views are `Feed`'s but for rounding, and
    for local crops that are made smaller. Close it at the end.

    Shards are compared with the manifest by size alone. An image that cannot be decoded, as it could be at ingest,
    raises ArtifactError from the call for its step.
    """

    def __init__(
        self,
        manifest: Manifest,
        index: Index,
        split: str,
        views: Sequence[ContrastiveView],
        local: LocalCrops,
        batch_size: int,
        seed: int,
        *,
        device: torch.device,
        threads: int,
        reading: Reading | None,
        window: int,
    ) -> None:
        self._large = len(views)
        self._kinds = [(view, manifest.size) for view in views]
        if local.count > 0:
            self._kinds += [(local.view(views[0]), local.size(manifest.size, LOCAL))] * local.count
        self._channels, self._device = manifest.channels, device
        self._batch_size, self._seed = batch_size, seed
        self._part = dist.share(batch_size, "pretrain.batch_size")
        self._reader = Reader(manifest, index, split, reading)
        self._order = self._reader.order(window, seed, "pretrain", "order")
        self._prefetcher = Prefetcher(self._reader, threads)
        self._batches = ByStep(lambda step: self._prefetcher.batches(map(self._job, count(step))))

    def close(self) -> None:
        """Ends the threads and closes the shards; there are no more batches then."""
        self._prefetcher.close()

    def __call__(self, step: int) -> Views:
        """All views, drawn independently."""
        rows, crops = self._batches(step)
        chance = self._chance(step)
        views = []
        for (view, _), pixels in zip(self._kinds, crops, strict=True):
            view.crops(len(pixels), chance)  # passes over the draws that these crops were made by
            images = pixels.to(self._device, non_blocking=True).float().div_(255)
            views.append(view.photometric(images, chance))
        large, small = views[: self._large], views[self._large :]
        local = torch.stack(small) if small else large[0].new_empty(0, *large[0].shape)
        return Views(large[0], large[-1], local, torch.from_numpy(rows).to(self._device, non_blocking=True))

    def _chance(self, step: int) -> Chance:
        return Chance(rng.number(self._seed, "pretrain", "views", step), self._batch_size, self._part)

    def _job(self, step: int) -> Job[tuple[Int64[ndarray, " b"], list[Tensor]]]:
        """The rows of a step and, when it is full, the crops of their images: one tensor for each view."""
        rows = self._order.batch(step, self._batch_size)[self._part]
        if isinstance(self._order, ShardOrder):
            self._reader.fetch(self._order.shards(step, self._batch_size))
        crops = self._crops(step, len(rows))
        views = [buffer((len(rows), self._channels, *size), self._device) for _, size in self._kinds]

        def fill(i: int) -> None:
            parts = self._reader.read(int(rows[i]), partial(self._cut, crops, i))
            for pixels, crop, part in zip(views, crops, parts, strict=True):
                pixels.numpy()[i] = part[:, :, ::-1] if crop.flipped[i] else part

        return Job((rows, views), len(rows), fill)

    def _crops(self, step: int, count: int) -> list[Crops]:
        """Where all views of a step lie; what lies between in the stream, the colours' draws, goes to blank images."""
        chance, blank = self._chance(step), torch.zeros(count, self._channels, 1, 1)
        crops = []
        for view, _ in self._kinds:
            crops.append(view.crops(count, chance))
            view.photometric(blank, chance)
        return crops

    def _cut(self, crops: Sequence[Crops], i: int, data: bytes) -> list[UInt8[ndarray, "c _ _"]]:
        def boxes(width: float, height: float) -> list[Box]:
            return [crop.box(i, width, height) for crop in crops]

        return crop_and_resize(data, self._channels, boxes, [size for _, size in self._kinds])


def sample(
    manifest: Manifest, index: Index, split: str, number: int, seed: int, reading: Reading | None, window: int
) -> UInt8[Tensor, "k c h w"]:
    """`number` images of a split at `manifest.size`, or all where there are fewer: chosen at random, sorted by key.

    Of shards behind URLs they come from as few windows as have so many.
    """
    with closing(Reader(manifest, index, split, reading)) as reader:
        order = reader.order(window, seed, "pretrain", "sample")
        if isinstance(order, ShardOrder):
            chosen = order.batch(0, min(number, len(reader)))
        else:
            chosen = np.sort(rng.stream(seed, "pretrain", "sample").permutation(len(reader))[:number])

        def work(row: int) -> UInt8[ndarray, "c h w"]:
            return reader.read(row, lambda data: decode(data, manifest.channels, manifest.size))

        images = np.stack(list(map_in_order(work, chosen.tolist())))
        return torch.from_numpy(images[np.argsort(chosen)])
