"""What the block `pretrain` asks for: a method, a backbone for it, and the views that it is fed."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.nn.architecture import Architecture
from pipeline.nn.backbones import BACKBONES, Backbone, fresh, try_size
from pipeline.nn.device import Device
from pipeline.nn.norm import renew_statistics, synchronised
from pipeline.parallel import dist
from pipeline.parallel.cores import cores
from pipeline.pretrain.cld import Cld
from pipeline.pretrain.feed import LOCAL, Feed, Views
from pipeline.pretrain.method import AddOn, MethodParams, SelfSupervised
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.methods.none import NoneParams
from pipeline.pretrain.multi_task import TASKS, MultiTask
from pipeline.pretrain.params import PretrainParams
from pipeline.pretrain.streamed import StreamedFeed
from pipeline.views.kinds import ContrastiveView

log = logging.getLogger(__name__)
STATISTICS = 10_000  # plain images that batch norm's statistics are renewed on, at most


@dataclass(frozen=True)
class Recipe:
    """The checked values that a run needs, and what is made of them."""

    common: PretrainParams
    block: MethodParams  # of the method in use
    tasks: dict[str, MethodParams]  # those beside the method, with their blocks
    weights: NoneParams | None  # that the backbone starts from, in place of random ones
    options: Architecture  # of the backbone in use
    machine: Machine
    seed: int

    @classmethod
    def read(cls, params: Params) -> "Recipe":
        """From the params of a run; other methods' and backbones' blocks are not read. Raises ParamsError."""
        method = params.method("pretrain.method", {**METHODS, "none": NoneParams})
        block = params.block(f"pretrain.{method}", METHODS[method].Params if method in METHODS else NoneParams)
        common = params.stage("pretrain", PretrainParams, {*METHODS, "none", "backbones"})
        name = params.method("pretrain.backbone", BACKBONES)
        start = params.block("pretrain.none", NoneParams)
        blocks = {task: params.block(f"pretrain.{task}", TASKS[task].Params) for task in TASKS}
        if common.cld.weight > 0 and method in METHODS and METHODS[method].num_views < 2:
            raise ParamsError(
                f"pretrain.cld.weight: expected 0 for {method}, which takes one view of an image, "
                f"got {common.cld.weight}"
            )
        if method in METHODS and not issubclass(BACKBONES[name], METHODS[method].architecture):
            kinds = [kind for kind, own in BACKBONES.items() if issubclass(own, METHODS[method].architecture)]
            raise ParamsError(f"pretrain.backbone: expected {' or '.join(kinds)} for {method}, got {name}")
        if common.local.count > 0 and method in METHODS and not METHODS[method].takes_local:
            takers = ", ".join(name for name, other in METHODS.items() if other.takes_local)
            raise ParamsError(
                f"{LOCAL}.count: expected 0 with pretrain.method {method}, as small views are for {takers}, got "
                f"{common.local.count}"
            )
        if method in METHODS and METHODS[method].by_adamw and common.optim.name != "adamw":
            log.warning(
                "pretrain.optim.name: %s, where the paper of %s has adamw; its preset has values for the whole block",
                common.optim.name,
                method,
            )
        return cls(
            common,
            block,
            {task: blocks[task] for task in common.multi_task.weights},
            start if method == "none" or common.start == "weights" else None,
            params.block(f"pretrain.backbones.{name}", BACKBONES[name]),
            params.block("machine", Machine),
            params.seed,
        )

    def backbone(self, pixels: UInt8[Tensor, "n c h w"]) -> Backbone:
        """With random weights, normalised by these images."""
        torch.manual_seed(rng.number(self.seed, "pretrain", "init"))
        return fresh(self.common.backbone, self.options, pixels)

    def learner(
        self,
        backbone: Backbone,
        num_images: int,
        size: tuple[int, int],
        device: Device,
        images: UInt8[Tensor, "n c h w"] | None,
    ) -> SelfSupervised | AddOn:
        """The method around the backbone, which it trains in place on images of a size; not for method none.

        It is shown the images themselves, where they are in memory, on the device. Raises ParamsError where the values
        do not fit each other, the images, or the number of processes.
        """
        if self.common.batch_size > num_images:
            raise ParamsError(
                f"pretrain.batch_size: expected at most {num_images}, the training images, got {self.common.batch_size}"
            )
        if not self.common.sync_bn and self.common.batch_size < 2 * dist.world():
            raise ParamsError(
                f"pretrain.batch_size: expected two images for each of {dist.world()} processes without sync_bn, "
                f"got {self.common.batch_size}"
            )
        local = self.common.local
        if local.count > 0:
            try_size(backbone, local.size(size, LOCAL))
        chance = torch.Generator().manual_seed(rng.number(self.seed, "pretrain", "method"))
        method = METHODS[self.common.method](backbone, self.block, num_images, chance)
        learner: SelfSupervised | AddOn = Cld(method, self.common.cld, chance) if self.common.cld.weight > 0 else method
        if self.tasks:
            learner = MultiTask(learner, backbone, self.common.multi_task.weights, self.tasks, num_images, chance)
        learner = synchronised(learner, "pretrain") if self.common.sync_bn else learner
        learner.to(device.device).see(images, self.views)
        return learner

    @property
    def views(self) -> tuple[ContrastiveView, ...]:
        """Two, or the first alone where neither the method nor a task takes both. Not for method none."""
        learnt = METHODS[self.common.method], *(TASKS[task] for task in self.tasks)
        return self.common.views[: max(one.num_views for one in learnt)]

    def finish(self, backbone: Backbone, pixels: UInt8[Tensor, "n c h w"], device: Device) -> None:
        """Renews batch norm's statistics on plain images where training met others than whole, upright ones.

        `embed` sees such images alone. They are drawn from `pixels`, all training images or a sample of them. All
        processes must call it.
        """
        if METHODS[self.common.method].whole_images and not self.tasks:
            return
        chosen = rng.stream(self.seed, "pretrain", "statistics").permutation(len(pixels))[:STATISTICS]
        size = min(self.common.batch_size, len(chosen) // dist.world() * dist.world())
        part = dist.share(size, "pretrain.batch_size")
        batches = (chosen[i : i + size][part] for i in range(0, len(chosen) - size + 1, size))
        with device.autocast():
            renew_statistics(backbone, (pixels[torch.from_numpy(rows)].to(device.device) for rows in batches))

    def streams(self, manifest: Manifest) -> bool:
        """Whether the training images are too many to be kept as pixels, and are read anew for each batch."""
        num_bytes = manifest.count("train") * manifest.channels * math.prod(manifest.size)
        return num_bytes > self.machine.resident_mb * 1e6

    def feed(
        self, manifest: Manifest, index: Index, pixels: UInt8[Tensor, "n c h w"] | None, device: Device
    ) -> AbstractContextManager[Callable[[int], Views]]:
        """Batches from pixels in memory, on the device, or without them from the shards."""
        local, size, views = self.common.local, self.common.batch_size, self.views
        if pixels is not None:
            return nullcontext(Feed(pixels, views, local, size, self.seed))
        feed = StreamedFeed(
            manifest,
            index,
            "train",
            views,
            local,
            size,
            self.seed,
            device=device.device,
            threads=cores(),
            reading=self.machine.reading,
            window=self.machine.window_shards,
        )
        return closing(feed)
