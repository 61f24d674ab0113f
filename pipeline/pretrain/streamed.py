"""The views of the same images for any step, where not all fit in memory: decoded and cropped ahead, in threads."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.parallel import dist
from pipeline.parallel.threads import map_in_order
from pipeline.pretrain.feed import LOCAL, Views
from pipeline.shards.decode import Box, cut, decode, quiet
from pipeline.shards.order import ShardOrder
from pipeline.shards.reader import Reader
from pipeline.shards.remote.download import Reading
from pipeline.views.augment import Chance
from pipeline.views.kinds import ContrastiveView, Crops, LocalCrops

AHEAD = 2  # batches that are made while one is trained on
CHUNK = 4  # images that a thread takes at a time


@dataclass(frozen=True)
class _Batch:
    """The crops of a step, whole when all of `work` is done: one tensor for each view."""

    step: int
    rows: Int64[ndarray, " b"]
    pixels: Sequence[UInt8[Tensor, "b c _ _"]]
    work: list[Future[None]] = field(default_factory=list)


class StreamedFeed:
    """The batch of any step, as a function of (seed, step), from the shards; it draws what `Feed` would.

    Crops are cut from each picture at its own resolution and resized, antialiased, to `manifest.size`, as bytes; their
    colours change on the device. Of pictures that have that size already the views are `Feed`'s but for rounding, and
    for local crops that are made smaller. The next `AHEAD` batches are made while one is trained on; a step that is not
    the next one is as right, but waited for. `threads` are this process's own. Close it at the end.

    Shards are compared with the manifest by size alone. An image that cannot be decoded, as it could be at ingest,
    raises ArtifactError from the call for its step.
    """

    def __init__(
        self,
        manifest: Manifest,
        index: Index,
        split: str,
        views: tuple[ContrastiveView, ContrastiveView],
        local: LocalCrops | None,
        batch_size: int,
        seed: int,
        *,
        device: torch.device,
        threads: int,
        reading: Reading | None,
        window: int,
    ) -> None:
        self._kinds = [(view, manifest.size) for view in views]
        if local is not None:
            self._kinds += [(local.view(views[0]), local.size(manifest.size, LOCAL))] * local.count
        self._channels, self._device = manifest.channels, device
        self._batch_size, self._seed = batch_size, seed
        self._part = dist.share(batch_size, "pretrain.batch_size")
        self._reader = Reader(manifest, index, split, reading)
        self._order = self._reader.order(window, seed, "pretrain", "order")
        self._ahead: deque[_Batch] = deque()
        self._open = ExitStack()
        self._open.callback(self._reader.close)
        self._open.enter_context(quiet())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="views")
        self._open.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        self._open.callback(self._reader.stop)

    def __len__(self) -> int:
        return len(self._reader)

    def close(self) -> None:
        """Ends the threads and closes the shards; there are no more batches then."""
        self._ahead.clear()
        self._open.close()

    def __call__(self, step: int) -> Views:
        """All views, drawn independently."""
        if self._ahead and self._ahead[0].step != step:
            for future in (future for batch in self._ahead for future in batch.work):
                future.cancel()
            self._ahead.clear()
        while len(self._ahead) <= AHEAD:
            self._ahead.append(self._start(step + len(self._ahead)))
        batch = self._ahead.popleft()
        for future in batch.work:
            future.result()
        chance = self._chance(step)
        views = []
        for (view, _), pixels in zip(self._kinds, batch.pixels, strict=True):
            view.crops(len(pixels), chance)  # passes over the draws that these crops were made by
            images = pixels.to(self._device, non_blocking=True).float() / 255
            views.append(view.photometric(images, chance))
        first, second, *others = views
        local = torch.stack(others) if others else first.new_empty(0, *first.shape)
        return Views(first, second, local, torch.from_numpy(batch.rows).to(self._device))

    def _chance(self, step: int) -> Chance:
        return Chance(rng.number(self._seed, "pretrain", "views", step), self._batch_size, self._part)

    def _start(self, step: int) -> _Batch:
        """A batch that threads have begun to fill."""
        rows = self._order.batch(step, self._batch_size)[self._part]
        if isinstance(self._order, ShardOrder):
            self._reader.fetch(self._order.shards(step, self._batch_size))
        crops = self._crops(step, len(rows))
        pinned = self._device.type == "cuda"
        pixels = [
            torch.empty((len(rows), self._channels, *size), dtype=torch.uint8, pin_memory=pinned)
            for _, size in self._kinds
        ]
        batch, places = _Batch(step, rows, pixels), range(len(rows))
        for start in places[::CHUNK]:
            batch.work.append(self._pool.submit(self._fill, batch, crops, places[start : start + CHUNK]))
        return batch

    def _crops(self, step: int, count: int) -> list[Crops]:
        """Where all views of a step lie; what lies between in the stream, the colours' draws, goes to blank images."""
        chance, blank = self._chance(step), torch.zeros(count, self._channels, 1, 1)
        crops = []
        for view, _ in self._kinds:
            crops.append(view.crops(count, chance))
            view.photometric(blank, chance)
        return crops

    def _fill(self, batch: _Batch, crops: Sequence[Crops], own: range) -> None:
        """Reads the images at the places `own` of a batch and cuts all their views, in a thread."""
        for i in own:
            parts = self._reader.read(int(batch.rows[i]), partial(self._cut, crops, i))
            for pixels, crop, part in zip(batch.pixels, crops, parts, strict=True):
                pixels.numpy()[i] = part[:, :, ::-1] if crop.flipped[i] else part

    def _cut(self, crops: Sequence[Crops], i: int, data: bytes) -> list[UInt8[ndarray, "c _ _"]]:
        def boxes(width: float, height: float) -> list[Box]:
            return [crop.box(i, width, height) for crop in crops]

        return cut(data, self._channels, boxes, [size for _, size in self._kinds])


def sample(
    manifest: Manifest, index: Index, split: str, count: int, seed: int, reading: Reading | None, window: int
) -> UInt8[Tensor, "k c h w"]:
    """`count` images of a split at `manifest.size`, or all where there are fewer: chosen at random, sorted by key.

    Of shards behind URLs they come from as few windows as have so many.
    """
    with closing(Reader(manifest, index, split, reading)) as reader:
        order = reader.order(window, seed, "pretrain", "sample")
        if isinstance(order, ShardOrder):
            chosen = order.batch(0, min(count, len(reader)))
        else:
            chosen = np.sort(rng.stream(seed, "pretrain", "sample").permutation(len(reader))[:count])

        def work(number: int) -> UInt8[ndarray, "c h w"]:
            return reader.read(number, lambda data: decode(data, manifest.channels, manifest.size))

        images = np.stack(list(map_in_order(work, chosen.tolist())))
        return torch.from_numpy(images[np.argsort(chosen)])
