"""t-ReX: supervised training for features that serve other classes too (Sariyildiz et al. 2023).

"No reason for no supervision: Improved generalization in supervised models": crops of every labelled image, a projector
that is left behind, and class vectors that are means of what was seen last.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone, try_size
from pipeline.nn.classifier import Classifier
from pipeline.nn.clusters import moved
from pipeline.nn.heads import Cosine, cosine_logits
from pipeline.nn.memory import Queue, Ring
from pipeline.nn.mlp import Unit, mlp
from pipeline.nn.norm import statistics_kept
from pipeline.train.batch import SemiFeed
from pipeline.train.by_cosine import ByCosine, cosine
from pipeline.train.losses import labelled_ce
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task
from pipeline.views.chance import Chance
from pipeline.views.kinds import LocalCrops


class TrexParams(Block):
    """The block `train.trex`."""

    dim: int = Field(ge=1)  # of the projections
    hidden_dim: int = Field(ge=1)
    hidden_layers: int = Field(ge=0)  # of the projector
    temperature: float = Field(gt=0)
    queue_size: int = Field(ge=0)  # projections that class vectors are the means of; 0: class vectors are learnt
    local: LocalCrops


@dataclass(frozen=True)
class CropBatch:
    """A large view and small ones of the same labelled images, with their classes."""

    labelled: Float[Tensor, "b c h w"]
    views: Float[Tensor, "v b c _ _"]  # the small ones; v is 0 where none are asked for
    label: Int64[Tensor, " b"]

    @property
    def num_images(self) -> int:
        """All views that go through the network."""
        return len(self.labelled) * (1 + len(self.views))


class CropFeed(SemiFeed):
    """Crops of the labelled images in the order of `SemiFeed`."""

    def __init__(self, images: Pixels, task: Task, local: LocalCrops) -> None:
        super().__init__(images, task)
        view = task.common.view
        self._large, self._small, self._count = view, local.view(view), local.count
        self._size = local.size(task.size, "train.trex.local") if local.count else task.size

    def crops(self, step: int) -> CropBatch:
        """The batch of a step, on the device of the images; all views are drawn independently."""
        _, label, pixels = self._images(step)
        chance = Chance(rng.number(self._task.seed, "train", "views", step)).over(*self._labelled)
        large = self._large(pixels, chance)
        local = large.new_empty(0, *large.shape)
        if self._count:
            local = torch.stack([self._small(pixels, chance, self._size) for _ in range(self._count)])
        return CropBatch(large, local, label[:, 0].to(self._device, non_blocking=True))


class Trex(ByCosine[CropBatch, TrexParams]):
    """Cross-entropy of a cosine softmax over all crops, by class vectors that are unit sums of the queue's projections.

    What goes into the queue are projections of the large views by the moving average of the network, which is also the
    model that is left. A class without a row in the queue has the vector 0. In the result each class has the unit sum
    of all its labelled images' projections.
    Departures: the average's momentum is warmed up, and it is the result, in the authors' code the network itself is;
    the queue begins with random unit vectors, theirs with longer ones, both of random classes; small views do not move
    the running statistics of the backbone; the linear layer beside is ours. `train.weak`
    and `train.strong` have no effect.
    """

    Params = TrexParams

    def __init__(self, backbone: Backbone, task: Task, params: TrexParams) -> None:
        if params.local.count:
            try_size(backbone, params.local.size(task.size, "train.trex.local"))
        super().__init__(backbone, task, params)
        self.queue: Queue | None = None
        if params.queue_size:
            cosine(self.net).vectors.requires_grad_(requires_grad=False)
            chance = torch.Generator().manual_seed(rng.number(task.seed, "train", "queue"))
            self.queue = Queue(params.queue_size, params.dim, chance)
            classes = torch.randint(len(task.targets.classes), (params.queue_size,), generator=chance)
            self.queue_label = Ring(classes)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def head(self, dim: int) -> Cosine:
        """The projector of unit features, and a vector of each class."""
        params = self.params
        dims = [dim, *[params.hidden_dim] * params.hidden_layers, params.dim]
        layers = nn.Sequential(Unit(), *mlp(dims, norm=True, last_bias=False, activation=nn.GELU))
        return self.cosine(dim, layers, params.temperature)

    def feed(self, images: Pixels) -> Callable[[int], CropBatch]:
        return CropFeed(images, self.task, self.params.local).crops

    def loss(self, batch: CropBatch) -> Step:
        """Mean cross-entropy on all crops; the linear layer's on the large ones beside it touches that layer only."""
        backbone, head = self.net.backbone, cosine(self.net)
        features = [backbone(batch.labelled)]
        if len(batch.views):
            with statistics_kept(backbone):
                features.append(backbone(batch.views.flatten(0, 1)))
        z = head.projector(torch.cat(features))  # of all crops at once, as in the authors' code
        logits = cosine_logits(z, self.class_vectors(), self.params.temperature)
        logs = {
            "labelled": labelled_ce(logits, batch.label.repeat(1 + len(batch.views))),
            "linear": labelled_ce(head.layer(features[0].detach()).float(), batch.label),
        }
        if self.queue is not None:
            with torch.no_grad(), statistics_kept(self.ema_net):
                self._waiting = [(projections(self.ema_net, batch.labelled), batch.label)]
        return Step(logs["labelled"] + logs["linear"], logs)

    def class_vectors(self) -> Float[Tensor, "k d"]:
        """One of each class: those that learn, or those of the queue."""
        vectors = cosine(self.net).vectors.weight
        if self.queue is None:
            return vectors
        return moved(self.queue.rows, self.queue_label.rows, torch.zeros_like(vectors))

    def after_step(self, step: int, num_steps: int) -> None:
        """Beside the average, puts the batch into the queue."""
        if self.queue is not None:
            for rows, label in self._waiting:
                self.queue.push(rows)
                self.queue_label.push(label)
        self._waiting = []
        super().after_step(step, num_steps)

    @torch.no_grad()
    def result(self, images: Pixels) -> Classifier:
        """The averaged network, with the vectors of all labelled images if it had a queue."""
        if self.queue is not None:
            net, targets = self.ema_net.eval(), self.task.targets
            parts = images.stream(targets.rows.split(net.images_a_pass()))
            z = torch.cat([projections(net, part) for part in parts])
            vectors = cosine(net).vectors.weight
            vectors.copy_(moved(z.to(vectors), targets.labels[:, 0].to(z.device), torch.zeros_like(vectors)))
        return self.ema_net


def projections(net: Classifier, images: Tensor) -> Float[Tensor, "b d"]:
    """What the head's projector makes of images."""
    return cosine(net).projector(net.backbone(images))
