"""The loss of each self-supervised method on random projections: what it costs without a network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.nn.contrast import nt_xent
from pipeline.nn.device import Device
from pipeline.nn.primitives import unit
from pipeline.pretrain.bootstrap import byol_loss
from pipeline.pretrain.instance_bank import softmax_loss
from pipeline.pretrain.methods.ascl import ascl_loss
from pipeline.pretrain.methods.barlow_twins import barlow_twins_loss
from pipeline.pretrain.methods.cmsf import cmsf_loss
from pipeline.pretrain.methods.dino import dino_targets
from pipeline.pretrain.methods.exemplar import exemplar_loss
from pipeline.pretrain.methods.interclr import Drawn, inter_loss
from pipeline.pretrain.methods.mira import mira_targets
from pipeline.pretrain.methods.mochi import Mixes, mochi_loss
from pipeline.pretrain.methods.msf import msf_loss
from pipeline.pretrain.methods.ncc import scattering_loss
from pipeline.pretrain.methods.simsiam import simsiam_loss
from pipeline.pretrain.methods.swav import swav_codes
from pipeline.pretrain.methods.uml import episode_loss
from pipeline.pretrain.methods.vicreg import vicreg_loss
from pipeline.pretrain.methods.xmoco import crossed, uneven
from pipeline.pretrain.momentum_contrast import moco_loss
from pipeline.pretrain.prototypes import swapped_loss

FEATURES = 128  # of the small network, where a method has no head


def loss_of(name: str, p: Any, batch: int, queue: int, device: Device) -> Callable[[], Tensor]:
    """The loss of a batch beside a queue, with the values `p` of the method's block; it can be computed again."""

    def rows(count: int, *, grad: bool = True) -> Tensor:
        dim = p.dim if "dim" in type(p).model_fields else FEATURES
        return torch.randn(count, dim, device=device.device).requires_grad_(grad)

    q = [rows(batch) for _ in range(4)]
    memory, other = unit(rows(queue, grad=False)), unit(rows(queue, grad=False))
    classes = rows(queue)
    own = torch.arange(batch, device=device.device)

    def swav() -> Tensor:
        z = torch.stack([unit(x) for x in q[:2]])
        prototypes = other[: p.prototypes]
        codes = torch.stack([swav_codes(part, prototypes, p.epsilon, p.iterations) for part in z])
        return swapped_loss(z, codes, prototypes, p.temperature)

    def mira() -> Tensor:
        y, prototypes = unit(torch.stack(q[2:])).detach(), other[: p.prototypes]
        w = mira_targets(y, prototypes, p.target_temperature, p.beta_start, p.iterations)
        return swapped_loss(unit(torch.stack(q[:2])), w, prototypes, p.temperature)

    def dino() -> Tensor:
        z = torch.stack([unit(x) for x in q[:2]])
        prototypes = other[: p.prototypes]
        targets = dino_targets(z.detach() @ prototypes.T, prototypes.mean(dim=1), p.target_temperature)
        return swapped_loss(z, targets, prototypes, p.temperature)

    def ncc() -> Tensor:
        pairs, labels = ((q[0], q[3]), (q[1], q[2])), own % p.clusters
        terms = [scattering_loss(unit(x), unit(y), labels, p.clusters, p.temperature) for x, y in pairs]
        return byol_loss(*q) / 2 + p.weight * torch.stack(terms).mean()

    def interclr(x: Tensor) -> Tensor:
        labels = torch.arange(queue, device=device.device) % p.clusters
        drawn = Drawn.of(queue, p.candidates, p.negatives, device.device)
        inter = inter_loss(unit(x), other, labels[own], labels, drawn, p.temperature, p.margin, p.candidates)
        return inter + moco_loss(unit(x), memory[:batch], memory, p.temperature)

    def cmsf() -> Tensor:
        return cmsf_loss(q[0], memory[:batch], other[:batch], memory, other, p.neighbours, p.constrained)

    def uml() -> Tensor:
        tasks = torch.rand(p.tasks, batch).argsort(dim=1)[:, : p.way].to(device.device)
        share = torch.rand(1, batch, p.mixes).to(device.device) / 2
        return episode_loss(q[1][None], unit(q[0]), tasks, share)

    def mochi(x: Tensor) -> Tensor:
        mixes = Mixes.drawn(p.hardest, p.mixes, p.query_mixes, device.device)
        return mochi_loss(unit(x), memory[:batch], memory, p.temperature, p.hardest, mixes)

    losses: dict[str, Callable[[], Tensor]] = {
        "moco": lambda: sum(moco_loss(unit(x), memory[:batch], memory, p.temperature) for x in q[: 1 + p.symmetric]),
        "ifnd": lambda: sum(moco_loss(unit(x), memory[:batch], memory, p.temperature) for x in q[: 1 + p.symmetric]),
        "interclr": lambda: sum(interclr(x) for x in q[: 1 + p.symmetric]),
        "xmoco": lambda: sum(
            moco_loss(unit(x), memory[:batch], memory, p.temperature)
            + crossed(unit(x), memory[:batch])
            + uneven(unit(x), memory, p.temperature)
            for x in q[: 1 + p.symmetric]
        ),
        "mochi": lambda: sum(mochi(x) for x in q[: 1 + p.symmetric]),
        "ascl": lambda: sum(
            ascl_loss(unit(x), memory[:batch], memory, p.temperature, p.target_temperature, p.neighbours)
            for x in q[: 1 + p.symmetric]
        ),
        "simclr": lambda: nt_xent(unit(q[0]), unit(q[1]), p.temperature),
        "byol": lambda: byol_loss(*q),
        "orl": lambda: sum(byol_loss(*q) for _ in range(3)),
        "ncc": ncc,
        "simsiam": lambda: simsiam_loss(*q),
        "swav": swav,
        "mira": mira,
        "dino": dino,
        "barlow_twins": lambda: barlow_twins_loss(q[0], q[1], p.off_diagonal, p.scale),
        "vicreg": lambda: vicreg_loss(q[0], q[1], p.invariance, p.variance, p.covariance),
        "npid": lambda: softmax_loss(unit(torch.cat(q[:2])), memory, own.repeat(2), p.temperature),
        "pirl": lambda: softmax_loss(unit(torch.cat(q[:2])), memory, own.repeat(2), p.temperature),
        "exemplar": lambda: exemplar_loss(torch.stack([unit(x) for x in q[:2]]), classes, own, p.temperature),
        "uml": uml,
        "msf": lambda: msf_loss(q[0], memory[:batch], memory, p.neighbours),
        "cmsf": cmsf,
    }
    return losses[name]
