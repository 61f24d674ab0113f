"""NCC: BYOL with noise on the projection, beside a term that keeps clusters of images apart.

Huang et al. 2022, "Learning representation for clustering via prototype scattering and positive sampling", whose code
and figures go by the name ProPos. The letters: q are the student's unit projections of one view, k the teacher's of
the other; a centre is the unit mean of a cluster's members in the batch.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.clusters import Clusters
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, in_float32, one_hot, regress, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class NccParams(MethodParams):
    """The block `pretrain.ncc`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    clusters: int = Field(ge=2)  # of all training images, found anew after each epoch
    iterations: int = Field(ge=1)  # of k-means
    weight: float = Field(ge=0)  # lambda, of the term that keeps clusters apart
    temperature: float = Field(gt=0)  # of that term
    noise: float = Field(ge=0)  # sigma, deviation of what is added to each number of a projection before the predictor
    start: float = Field(ge=0, le=1)  # share of the steps without noise and without that term: BYOL
    predictor_rate: float = Field(gt=0)  # of the predictor, as a multiple of the learning rate
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)


@in_float32
def scattering_loss(
    q: Float[Tensor, "n d"], k: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], clusters: int, temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of each cluster's centre of q against that of k, beside the other centres of q, mean over clusters.

    Clusters without members do not exist, and rows labelled -1 are in none; without any cluster the loss is 0. It is
    log k where the centres of k clusters are equal. No gradient reaches k.
    """
    members = one_hot(labels, clusters).to(q.dtype)
    there = members.any(dim=0)
    q_centres, k_centres = unit(members.T @ q), unit(members.T @ k.detach())
    own = torch.eye(clusters, dtype=torch.bool, device=q.device)
    logits = torch.where(own, (q_centres * k_centres).sum(dim=1), q_centres @ q_centres.T) / temperature
    logits = logits.masked_fill(~there, torch.finfo(logits.dtype).min / 2)
    each = F.cross_entropy(logits, torch.arange(clusters, device=q.device), reduction="none")
    return torch.where(there, each, 0).sum() / there.sum().clamp(min=1)


class Ncc(SelfSupervised[NccParams]):
    """The method around `scattering_loss`.

    The positive term is half of BYOL's loss; the paper's is 2 less, which changes no gradient. Departures: clusters are
    those of a bank (`Clusters`), which has the mean of the teacher's projections of an image's two views; there is no
    queue, which the authors have on ImageNet alone.
    """

    Params = NccParams
    head_at = "student.head"

    def __init__(self, backbone: Backbone, params: NccParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [params.hidden_dim, params.dim]
        self.student = Encoder(backbone, mlp([backbone.dim, *dims], norm=True))
        self.predictor = mlp([params.dim, *dims], norm=True)
        self.rate_scale = ((self.predictor, params.predictor_rate),)
        self.teacher = ema.frozen_copy(self.student)
        name = "pretrain.ncc.clusters"
        self.clusters = Clusters(num_images, params.dim, [params.clusters], params.iterations, name, chance)
        self._seen: tuple[Tensor, Tensor] | None = None  # images and their vectors, for the bank after the step

    def loss(self, views: Views) -> Step:
        p, started = self.params, self.progress >= self.params.start
        with torch.no_grad():
            k1, k2 = (unit(self.teacher(view)[1]) for view in (views.first, views.second))
        (h1, z1), (h2, z2) = self.student(views.first), self.student(views.second)
        p1, p2 = (self.predictor(self._noisy(z) if started else z) for z in (z1, z2))
        loss = (regress(p1, k2[:, None]) + regress(p2, k1[:, None])) / 2
        if started and p.weight > 0:
            labels = dist.gather(self.clusters.labels[0, views.rows])
            scattered = [
                scattering_loss(dist.gather(unit(z)), dist.gather(k), labels, p.clusters, p.temperature)
                for z, k in ((z1, k2), (z2, k1))
            ]
            loss = loss + p.weight * torch.stack(scattered).mean()
        self._seen = views.rows, unit(k1 + k2)
        return Step(loss, {"feature_std": feature_std(z1)}, [h1, h2])

    def _noisy(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        # Drawn on the CPU for the global batch, so that any number of processes draws the same.
        total, part = dist.global_batch(len(z))
        return z + self.params.noise * torch.randn(total, z.shape[1])[part].to(z.device, non_blocking=True)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher and the bank; at the end of an epoch, finds the clusters."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
        if self._seen is not None:
            self.clusters.update(*self._seen, step)
        self._seen = None
