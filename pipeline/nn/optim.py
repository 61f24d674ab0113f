"""Optimisers and learning-rate schedules as one params block."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.base.params import Block


class LarsParams(Block):
    """What layer-wise adaptive rates need beside the values of every optimiser."""

    trust: float = Field(gt=0)
    clip: bool  # LARC: the adapted rate is never above the rate


class AdamWParams(Block):
    """What AdamW needs beside the values of every optimiser; its beta1 is `momentum`."""

    beta2: float = Field(ge=0, lt=1)


class StaircaseParams(Block):
    """Where the rate falls, and by which factor each time."""

    at: list[float]  # shares of all steps, rising
    factor: float = Field(gt=0, lt=1)

    @field_validator("at")
    @classmethod
    def _rising(cls, at: list[float]) -> list[float]:
        if any(not low < high for low, high in pairwise([0, *at, 1])):
            raise ValueError("rising numbers between 0 and 1")
        return at


class OptimParams(Block):
    """An optimiser and its schedule; `warmup` is the share of all steps in which the rate rises linearly from 0.

    `final_learning_rate` is where the cosine ends; biases and norms move at `bias_scale` times the rate of the weights.
    """

    name: Literal["sgd", "lars", "adamw"]
    learning_rate: float = Field(gt=0, le=1e30)
    bias_scale: float = Field(gt=0, le=1e6)
    lars: LarsParams  # only the optimiser of that name looks at this and the next
    adamw: AdamWParams
    momentum: float = Field(ge=0, lt=1)
    nesterov: bool
    weight_decay: float = Field(ge=0)
    weight_decay_end: float | Literal["same"]  # at the last step, along half a cosine; same: no change
    clip_norm: float = Field(ge=0)  # most length of the gradient of all parameters together; 0: any
    accumulate: int = Field(ge=1)  # batches whose mean gradient is one step of the optimiser
    warmup: float = Field(ge=0, lt=1)
    schedule: Literal["cosine", "cosine_7_16", "staircase", "constant"]
    staircase: StaircaseParams  # only the schedule of that name looks at it
    final_learning_rate: float = Field(ge=0)

    @model_validator(mode="after")
    def _nesterov(self) -> "OptimParams":
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: false, or sgd with momentum above 0")
        return self

    @field_validator("weight_decay_end", mode="before")
    @classmethod
    def _end(cls, value: Any) -> Any:
        if value != "same" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise ValueError("same, or a number of at least 0")
        return value

    @field_validator("final_learning_rate")
    @classmethod
    def _final(cls, value: float, info: Any) -> float:
        if value > (info.data.get("learning_rate", value) if info.data.get("schedule") == "cosine" else 0):
            raise ValueError("0, or with schedule cosine at most learning_rate")
        return value

    def optimiser(self, net: nn.Module) -> Optimizer:
        """The optimiser over the trainable parameters; biases and norms get neither decay nor LARS's adaptation.

        A departure for MoCo, whose code decays all of them. Modules in the net's `constant_rate` keep the first rate
        throughout; the rates of those in its `rate_scale` are multiplied.
        """
        constant = {p for module in getattr(net, "constant_rate", ()) for p in module.parameters()}
        scale = {p: factor for module, factor in getattr(net, "rate_scale", ()) for p in module.parameters()}
        kinds: dict[tuple[bool, float, bool], list[Tensor]] = {}
        for p in (p for p in net.parameters() if p.requires_grad):
            kinds.setdefault((p in constant, scale.get(p, 1.0), p.ndim <= 1), []).append(p)
        groups = [
            {
                "params": kinds[still, factor, bias],
                "weight_decay": 0.0 if bias else self.weight_decay,
                "scale": factor * (self.bias_scale if bias else 1.0),
                "constant": still,
                "decayed": not bias,
            }
            for still, factor, bias in sorted(kinds)
        ]
        if self.name == "adamw":
            return AdamW(groups, self.learning_rate, (self.momentum, self.adamw.beta2), fused=True)
        if self.name == "sgd":
            optimiser = SGD(groups, self.learning_rate, self.momentum, nesterov=self.nesterov, fused=True)
            return with_momentum(optimiser) if self.momentum else optimiser
        return Lars(groups, self.learning_rate, self.momentum, self.lars.trust, clip=self.lars.clip)

    def move(self, optimiser: Optimizer, progress: float) -> float:
        """Sets rates and decay of the groups for the step at `progress`; returns the rate of the weights."""
        rate, decay = self.rate(progress), self.decay(progress)
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * (self.learning_rate if group["constant"] else rate)
            group["weight_decay"] = decay if group["decayed"] else 0.0
        return rate

    def decay(self, progress: float) -> float:
        """The weight decay at `progress` in [0, 1)."""
        if isinstance(self.weight_decay_end, str):
            return self.weight_decay
        return between(self.weight_decay, self.weight_decay_end, (1 + math.cos(math.pi * progress)) / 2)

    def rate(self, progress: float) -> float:
        """The learning rate at `progress` in [0, 1), the share of the steps that are done."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        t = (progress - self.warmup) / (1 - self.warmup)
        factor = {
            "cosine": (1 + math.cos(math.pi * t)) / 2,
            "cosine_7_16": math.cos(7 * math.pi * t / 16),  # FixMatch, Sohn et al. 2020, section 2.3
            "staircase": self.staircase.factor ** sum(progress >= at for at in self.staircase.at),
            "constant": 1.0,
        }[self.schedule]
        return between(self.learning_rate, self.final_learning_rate, factor)


def between(start: float, end: float, factor: float) -> float:
    """`start` where the factor is 1, `end` where it is 0."""
    return end + (start - end) * factor


def with_momentum(optimiser: SGD) -> SGD:
    """The optimiser with a momentum of zeros for each parameter: it takes the same steps.

    torch's fused SGD fails where some parameters of a group have one and others, whose gradient comes later, have none.
    """
    for p in (p for group in optimiser.param_groups for p in group["params"]):
        optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimiser


class Lars(Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017): v <- m v + trust |w| / |g + wd w| (g + wd w); w <- w - lr v.

    With `clip` the factor before the gradient is min(trust |w| / (lr |g + wd w|), 1), so lr is a bound and no factor.
    Weights only: parameters of one dimension take plain momentum steps, without decay. Departure: the rate multiplies
    outside the momentum, as torch's SGD has it, so a change of rate acts at once.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, trust: float, *, clip: bool) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "trust": trust, "clip": clip, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step on all parameters that have a gradient, each group's at once; it takes no closure."""
        assert closure is None, "LARS computes no loss anew"
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            for p in moved:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            for adapted in (True, False):
                self._move([p for p in moved if (p.ndim > 1) is adapted], group, adapted=adapted)

    def _move(self, params: list[Tensor], group: dict[str, Any], *, adapted: bool) -> None:
        if not params:
            return
        grads = torch._foreach_add([p.grad for p in params], params, alpha=group["weight_decay"])
        if adapted:
            w, g = (torch.stack(torch._foreach_norm(tensors)) for tensors in (params, grads))
            factor = torch.where((w > 0) & (g > 0), group["trust"] * w / g, 1.0)
            if group["clip"]:
                factor = (factor / max(group["lr"], 1e-30)).clamp(max=1)
            grads = torch._foreach_mul(grads, list(factor.unbind()))
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, grads)
        torch._foreach_add_(params, velocities, alpha=-group["lr"])
