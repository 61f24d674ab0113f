"""CMSF: an image is pulled to its nearest neighbours of its own class, true or guessed; without one, to its nearest.

Navaneet et al. 2022, "Constrained mean shift using distant yet related neighbors for representation learning", the
semi-supervised variant, and where every image has a label the supervised one. The letters are MSF's: u is the unit
embedding of the weak view by a slow copy; v is the prediction of it from the strong view.
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
from pipeline.nn.heads import Head, Levels
from pipeline.nn.memory import Queue, enqueued, refuse_more
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import in_float32, regress, unit
from pipeline.train.averaged import Averaged, known_ce
from pipeline.train.batch import Batch, Feed
from pipeline.train.passes import through
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class CmsfSemiParams(Block):
    """The block `train.cmsf`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    queue_size: int = Field(ge=1)  # never more than there are images
    neighbours: int = Field(ge=1)  # k, the image's own other view among them
    confidence: float = Field(ge=0)  # least probability of a guess that is a class; above 1 there are true ones alone
    supervised: float = Field(ge=0)  # weight of the labelled loss in the backbone's gradient; the head's is 1
    finetune: float = Field(ge=0, le=1)  # share of the steps, the last ones, that are supervised training
    target_keep: float = Field(ge=0, lt=1)  # share of the slow encoder, which u comes from, that is kept at each step
    keep: float = Field(ge=0, lt=1)  # the same of the slow classifier, which is the result


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

    Mean over k and the batch; over the rows that exist where a class has fewer than k, and 0 where it has none. With
    label -1, not known, all rows count, as in MSF. The memory holds unit vectors, u among them. No gradient reaches
    u or the memory.
    """
    allowed = (label[:, None] == memory_label) | (label[:, None] < 0)
    found = (u @ memory.T).masked_fill(~allowed, -torch.inf).topk(k, dim=1)
    there = found.values.isfinite().to(v.dtype)
    return regress(v, memory[found.indices], there / there.sum(dim=1, keepdim=True).clamp(min=1))


class Seen(Head):
    """What training reads of an image: its features, and logits that pass on the share `gradient` of theirs to them."""

    def __init__(self, head: Head, gradient: float) -> None:
        super().__init__(head.names)
        self.head, self.gradient = head, gradient

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """Both."""
        still = h.detach()
        return {"features": h, **self.head(still + self.gradient * (h - still))}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        """The head's."""
        return self.head.linear()


class CmsfSemi(Averaged):
    """The method around `constrained_loss`; the model that it leaves is the slow copy of the classifier.

    As in the paper the batch goes into the queue before the search, with its classes beside it.
    Departures: guesses are those of the classifier's own linear layer on the slow encoder's features. It begins at the
    class centroids and learns at each step, so that it is of use in a run of some hundred steps; the authors train a
    two-layer MLP on embeddings anew in each epoch. The labelled loss may move the backbone before the fine-tuning too
    (`supervised`; 0 in the paper), and in fine-tuning batch norm sees the unlabelled weak views beside the labelled
    ones, as `train.batch_norm` says. The slow encoder's batch norm sees the batch unshuffled, as in MSF.
    """

    Params = CmsfSemiParams
    progress: Tensor
    known: Tensor

    def __init__(self, backbone: Backbone, task: Task, params: CmsfSemiParams) -> None:
        net = Classifier(backbone, Levels(backbone.dim, task.targets.names), task.size)
        super().__init__(net, task, params.keep)
        self.params = params
        dims = [backbone.dim, params.hidden_dim, params.dim]
        self.projector = mlp(dims, norm=True)
        self.predictor = mlp([params.dim, *dims[1:]], norm=True)
        self.target = copy.deepcopy(self._online()).requires_grad_(requires_grad=False)
        chance = torch.Generator().manual_seed(rng.number(task.seed, "train", "queue"))
        self.queue = Queue(min(params.queue_size, task.num_images), params.dim, chance)
        refuse_more("train.cmsf.neighbours", params.neighbours, self.queue)
        self.queue_label = Queue(len(self.queue), 1, chance)
        self.queue_label.rows.fill_(-1)
        self.register_buffer("progress", torch.zeros((), dtype=torch.double))
        known = torch.full((task.num_images,), -1)
        known[task.targets.rows] = task.targets.labels[:, 0]
        self.register_buffer("known", known, persistent=False)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def feed(self, images: Pixels) -> Callable[[int], Batch]:
        """A weak and a strong view of each unlabelled image."""
        common = self.task.common
        return Feed(images, self.task, ratio=self.params.ratio, views=(common.weak, common.strong))

    def loss(self, batch: Batch) -> Step:
        """The labelled loss and, until the fine-tuning, the constrained one."""
        tuning = float(self.progress) >= 1 - self.params.finetune
        seen = Seen(self.net.head, 1.0 if tuning else self.params.supervised)
        net = Classifier(self.net.backbone, seen, self.net.size)
        weak, strong = batch.views
        labelled, other = through(net, [batch.labelled, weak if tuning else strong], self.task.common.batch_norm)
        logs = {"labelled": known_ce(labelled["label"], batch.label[:, 0])}
        self._waiting = []
        if tuning:
            none = torch.zeros_like(logs["labelled"])
            return Step(logs["labelled"], {**logs, "unlabelled": none, "kept": none})
        u, label = self._targets(weak, batch.rows)
        self._waiting = [(u, label)]
        memory, beside = enqueued(self.queue, u), enqueued(self.queue_label, label[:, None].float())
        v = self.predictor(self.projector(other["features"]))
        logs["unlabelled"] = constrained_loss(v, u, label, memory, beside[:, 0].long(), self.params.neighbours)
        logs["kept"] = (label >= 0).float().mean()
        return Step(logs["labelled"] + logs["unlabelled"], logs)

    @torch.no_grad()
    def _targets(
        self, weak: Float[Tensor, "u c h w"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, "u d"], Int64[Tensor, " u"]]:
        """Unit embeddings by the slow encoder, and each image's class: the true one, a confident guess, or -1."""
        h, z = self.target(weak)
        sure, guess = self.net.head(h)["label"].float().softmax(dim=1).max(dim=1)
        guess = guess.where(sure >= self.params.confidence, -1)
        known = self.known[rows]
        return unit(z), known.where(known >= 0, guess)

    def _online(self) -> Encoder:
        return Encoder(self.net.backbone, self.projector)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copies, then puts embeddings and classes in the queue in place of its oldest."""
        super().after_step(step, num_steps)
        ema.update(self.target, self._online(), self.params.target_keep, buffers=False)
        for u, label in self._waiting:
            self.queue.push(u)
            self.queue_label.push(label[:, None].float())
        self._waiting = []
        self.progress.fill_(step / num_steps)
