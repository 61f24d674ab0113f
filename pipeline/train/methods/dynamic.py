"""Dynamic distillation: labelled images of another domain teach features for the own ones (Islam et al. 2021).

"Dynamic distillation network for cross-domain few-shot recognition with unlabeled data". The other images are those of
a run that `train` has finished; its classes need have nothing to do with the own ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import FeaturesAndLogits
from pipeline.nn.mlp import Encoder
from pipeline.nn.primitives import in_float32
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.former import require_same, tensors
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

TAKEN = ("backbone.",)  # what the names of tensors begin with that the other run's model hands on


class DynamicParams(Block):
    """The block `train.dynamic`."""

    base: str  # the folder of a run with labelled images of another domain, and the model that it was trained to
    ratio: int = Field(ge=1)  # unlabelled images, and images of the other domain, for each own labelled one in a batch
    temperature: float = Field(gt=0)  # of the teacher: the smaller, the harder its predictions
    teacher_momentum: float = Field(ge=0, le=1)  # 1: the teacher stays the other run's model (STARTUP)


@dataclass(frozen=True)
class DynamicBatch(SemiBatch):
    """Own images, labelled ones and a weak and a strong view of others; beside them labelled ones of the base run."""

    base: Float[Tensor, "u c h w"]
    base_label: Int64[Tensor, " u"]

    @property
    def num_images(self) -> int:
        """All views that go through the network."""
        return super().num_images + len(self.base)


@in_float32
def distillation(student: Float[Tensor, "u k"], teacher: Float[Tensor, "u k"], temperature: float) -> Float[Tensor, ""]:
    """Mean of H(softmax(teacher / temperature), softmax(student)). No gradient reaches the teacher."""
    return F.cross_entropy(student, (teacher.detach() / temperature).softmax(dim=1))


def rise(progress: float) -> float:
    """The weight of the distillation: from 0 along a cosine to 1, which it reaches after three fifths of the steps."""
    return min(1.0, 0.75 * (1 - math.cos(math.pi * progress)))


class Dynamic(EmaMethod[DynamicBatch, DynamicParams]):
    """CE of the other domain's images + `rise` times the `distillation` of the own ones, both over its classes.

    Network and teacher begin as the other run's model, whatever `train.start` says. The teacher, which sees weak views,
    is then the moving average of the weights; its batch norm sees each batch of them, as in the authors' code. In place
    of a classifier fitted afterwards a linear layer learns the own classes all along, and sends no gradient into the
    features. Departures: batch norm of the student sees the own labelled images too, as `train.batch_norm` says; the
    result is the moving average of the weights by `train.ema_momentum`, in the authors' code the student itself.
    """

    Params = DynamicParams

    def __init__(self, backbone: Backbone, task: Task, params: DynamicParams) -> None:
        """Raises ArtifactError where the other run's model has another network."""
        super().__init__(backbone, task, params)
        assert task.base is not None
        self._base_run = task.base
        require_same(task.base.model, self.net, TAKEN, task.base.folder, "network")
        for net in (self.net, self.ema_net):
            net.load_state_dict(tensors(task.base.model, TAKEN), strict=False)
        weight, bias = task.base.model.head.linear()
        self.base = nn.Linear(weight.shape[1], weight.shape[0])
        self.base.load_state_dict({"weight": weight, "bias": bias})
        self.teacher = ema.frozen_copy(self._student())
        self.files = task.base.files

    def feed(self, images: Pixels) -> Callable[[int], DynamicBatch]:
        common, of, ratio = self.task.common, self._base_run, self.params.ratio
        own = SemiFeed(images, self.task, ratio=ratio, views=(common.weak, common.strong))
        alike = common.model_copy(update={"batch_size": common.batch_size * ratio})
        seed = rng.number(self.task.seed, "train", "base")
        base = SemiFeed(of.images, Task(of.targets, len(of.images), self.task.size, alike, seed))

        def batch(step: int) -> DynamicBatch:
            theirs = base(step)
            return DynamicBatch(**vars(own(step)), base=theirs.labelled, base_label=theirs.label[:, 0])

        return batch

    def loss(self, batch: DynamicBatch) -> Step:
        """The curve has the three parts, as `labelled`, `base` and `unlabelled`."""
        weak, strong = batch.views
        net = Classifier(self.net.backbone, FeaturesAndLogits(self.net.head, 0.0), self.net.size)
        parts = [batch.labelled, batch.base, strong]
        own, base, student = forward_parts(net, parts, self.task.common.batch_norm, counts=2)
        with torch.no_grad():
            teacher = self.teacher(weak)[1]
        logs = {
            "labelled": labelled_ce(own["label"], batch.label[:, 0]),
            "base": labelled_ce(self.base(base["features"]).float(), batch.base_label),
            "unlabelled": distillation(self.base(student["features"]), teacher, self.params.temperature),
        }
        return Step(logs["labelled"] + logs["base"] + rise(self.progress) * logs["unlabelled"], logs)

    def after_step(self, step: int, num_steps: int) -> None:
        """Beside the average, moves the teacher."""
        super().after_step(step, num_steps)
        ema.update(self.teacher, self._student(), self.params.teacher_momentum, buffers=False)

    def _student(self) -> Encoder:
        return Encoder(self.net.backbone, self.base)
