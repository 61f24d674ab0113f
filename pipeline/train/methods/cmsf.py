"""CMSF: an image is pulled to its nearest neighbours of its own class, labelled or pseudo-labelled, or of any if none.

Navaneet et al. 2022, "Constrained mean shift using distant yet related neighbors for representation learning", the
semi-supervised variant, and where every image has a label the supervised one. The letters are MSF's: u is the unit
embedding of the weak view by the target encoder, a moving average; v is the prediction of u from the strong view.
"""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import FeaturesAndLogits
from pipeline.nn.memory import Queue
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import in_float32, regress, unit
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class CmsfSemiParams(Block):
    """The block `train.cmsf`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    queue_size: int = Field(ge=1)  # never more than there are images
    neighbours: int = Field(ge=1)  # k, the image's own other view among them
    confidence: float = Field(ge=0)  # least confidence of a pseudo-label; above 1 there are none
    supervised: float = Field(ge=0)  # weight of the labelled loss in the backbone's gradient; the head's is 1
    finetune: float = Field(ge=0, le=1)  # share of the steps, the last ones, that are supervised training
    target_momentum: float = Field(ge=0, lt=1)  # of the target encoder


@in_float32
def constrained_loss(
    v: Float[Tensor, "b d"],
    u: Float[Tensor, "b d"],
    label: Int64[Tensor, " b"],
    memory: Float[Tensor, "m d"],
    memory_label: Int64[Tensor, " m"],
    k: int,
) -> Float[Tensor, ""]:
    """Squared distance of v's unit vector to the k rows nearest to u among those of its class (section 3), in [0, 4].

    Mean over k and the batch; over the rows that exist where a class has fewer than k, and 0 where it has none. For an
    image without a class (-1) all rows count, as in MSF. The memory holds unit vectors, u among them. No gradient
    reaches u or the memory.
    """
    allowed = (label[:, None] == memory_label) | (label[:, None] < 0)
    nearest = (u @ memory.T).masked_fill(~allowed, -torch.inf).topk(k, dim=1)
    exists = nearest.values.isfinite().to(v.dtype)
    return regress(v, memory[nearest.indices], exists / exists.sum(dim=1, keepdim=True).clamp(min=1))


class CmsfSemi(EmaMethod[SemiBatch, CmsfSemiParams]):
    """The method around `constrained_loss`.

    As in the paper the batch goes into the queue before the search, with its classes beside it.
    Departures: pseudo-labels are those of the classifier's own linear layer on the target encoder's features. It begins
    at the class centroids and learns at each step, so that it is of use in a run of some hundred steps; the authors
    train a two-layer MLP on embeddings anew in each epoch. The labelled loss may move the backbone before the
    fine-tuning too (`supervised`; 0 in the paper), and in fine-tuning batch norm sees the unlabelled weak views beside
    the labelled ones, as `train.batch_norm` says. The target encoder's batch norm sees the batch unshuffled, as in MSF.
    """

    Params = CmsfSemiParams
    guesses = True
    known: Tensor

    def __init__(self, backbone: Backbone, task: Task, params: CmsfSemiParams) -> None:
        super().__init__(backbone, task, params)
        dims = [backbone.dim, params.hidden_dim, params.dim]
        self.projector = mlp(dims, norm=True)
        self.predictor = mlp([params.dim, *dims[1:]], norm=True)
        self.target = copy.deepcopy(self._encoder()).requires_grad_(requires_grad=False)
        chance = torch.Generator().manual_seed(rng.number(task.seed, "train", "queue"))
        self.queue = Queue(min(params.queue_size, task.num_images), params.dim, chance)
        self.queue.require_rows(params.neighbours, "train.cmsf.neighbours")
        self.queue_label = Queue(len(self.queue), 1, chance)
        self.queue_label.rows.fill_(-1)
        self.register_buffer("known", task.known, persistent=False)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        common = self.task.common
        return SemiFeed(images, self.task, ratio=self.params.ratio, views=(common.weak, common.strong))

    def loss(self, batch: SemiBatch) -> Step:
        """The labelled loss and, until the fine-tuning, the constrained one.

        The curve has the share of images with a class, labelled or pseudo-labelled, as `mask_rate`.
        """
        tuning = self.progress >= 1 - self.params.finetune
        head = FeaturesAndLogits(self.net.head, 1.0 if tuning else self.params.supervised)
        net = Classifier(self.net.backbone, head, self.net.size)
        weak, strong = batch.views
        parts = [batch.labelled, weak if tuning else strong]
        labelled, unlabelled = forward_parts(net, parts, self.task.common.batch_norm)
        logs = {"labelled": labelled_ce(labelled["label"], batch.label[:, 0])}
        self._waiting = []
        if tuning:
            none = torch.zeros_like(logs["labelled"])
            return Step(logs["labelled"], {**logs, "unlabelled": none, "mask_rate": none})
        u, label = self._targets(weak, batch.rows)
        self._waiting = [(u, label)]
        memory, memory_label = (
            self.queue.after_push(u),
            self.queue_label.after_push(label[:, None].float())[:, 0].long(),
        )
        v = self.predictor(self.projector(unlabelled["features"]))
        logs["unlabelled"] = constrained_loss(v, u, label, memory, memory_label, self.params.neighbours)
        logs["mask_rate"] = (label >= 0).float().mean()
        return Step(logs["labelled"] + logs["unlabelled"], logs)

    @torch.no_grad()
    def _targets(
        self, weak: Float[Tensor, "u c h w"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, "u d"], Int64[Tensor, " u"]]:
        """Unit embeddings by the target encoder, and each image's label, confident pseudo-label, or -1."""
        h, z = self.target(weak)
        p = self.guess(self.net.head(h)["label"].float().softmax(dim=1), rows)
        confidence, pseudo_label = p.max(dim=1)
        pseudo_label = pseudo_label.where(confidence >= self.params.confidence, -1)
        known = self.known[rows]
        return unit(z), known.where(known >= 0, pseudo_label)

    def _encoder(self) -> Encoder:
        return Encoder(self.net.backbone, self.projector)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the average and the target encoder, then puts embeddings and classes in place of the queue's oldest."""
        super().after_step(step, num_steps)
        ema.update(self.target, self._encoder(), self.params.target_momentum, buffers=False)
        for u, label in self._waiting:
            self.queue.push(u)
            self.queue_label.push(label[:, None].float())
        self._waiting = []
