"""The one training loop, for self- and semi-supervised methods alike.

All that happens at step t is a function of (seed, t) and the state after step t - 1: batches, views and torch's own
chance are drawn anew from the step's number. So a run that was killed at any step ends in the same bytes on a CPU.
"""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from pipeline.base import rng
from pipeline.base.errors import TrainingError
from pipeline.base.files import whole_file
from pipeline.nn.device import Device
from pipeline.nn.optim import OptimParams
from pipeline.parallel import dist
from pipeline.parallel.stop import asked_to_stop

CURVE_ROWS = 200
TELL_SECONDS = 60.0  # between lines of the log, where there is no terminal for a bar
log = logging.getLogger(__name__)
Batch = TypeVar("Batch", contravariant=True)


@dataclass(frozen=True)
class Step:
    """What a method says of a batch: the loss to go down, and scalars for the curve."""

    loss: Tensor
    logs: Mapping[str, Tensor] = field(default_factory=dict)
    features: Sequence[Tensor] = ()  # (b, f) of the backbone for the first and the second view, for an add-on's term


class Trainable(Protocol[Batch]):
    """The two verbs of a method, which is also an `nn.Module`; all it must remember is in its state dict."""

    def loss(self, batch: Batch) -> Step:
        """The loss of a batch; changes nothing that a second call would notice, running statistics apart."""

    def after_step(self, step: int, num_steps: int) -> None:
        """What follows the optimiser's step: slow copies, queues. `step` counts from 1."""


def fit(
    method: Any,  # a Trainable[Batch] and an nn.Module: Python's types have no word for both
    batch_at: Callable[[int], Any],
    optim: OptimParams,
    *,
    num_steps: int,
    seed: int,
    device: Device,
    state: Path,
    save_seconds: float,
    watch: Callable[[dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Trains the method in place and returns the curve: about 200 rows, each the mean over the steps since the last.

    `state` is a folder where the run is saved every `save_seconds` and taken up again; `watch` sees each row of the
    curve when it is complete. Of several processes each has its part of the batches, gradients are their means, and
    rank 0 saves. A step is a batch: with `optim.accumulate` the optimiser moves after every so many of them, by their
    mean gradient, and once more at the end for what is left; queues and slow copies move at each. Raises TrainingError
    at the first step whose loss is not finite, or if a weight is not at the end; nothing of that kind is ever saved. On
    SIGTERM, SIGUSR1 or SIGINT to any of the processes it saves and raises TrainingError.
    """
    optimiser = optim.optimiser(method)
    curve = Curve(max(1, num_steps // CURVE_ROWS))
    file = state / "state.safetensors"
    start = restore(file, method, optimiser, curve)
    starts = dist.gather(torch.tensor([start], device=device.device)).tolist()
    if len(set(starts)) > 1:
        raise TrainingError(f"{state}: expected a folder that all processes see, got resumes at steps {starts}")
    if start and dist.rank() == 0:
        log.info("goes on after step %d of %d", start, num_steps)
    saved = told = time.monotonic()
    method.train()
    every = optim.accumulate
    with (
        tqdm(total=num_steps, initial=start, disable=None if dist.rank() == 0 else True, unit="step") as bar,
        asked_to_stop() as asked,
    ):
        for step in range(start, num_steps):
            torch.manual_seed(rng.number(seed, "fit", step))
            rate = optim.move(optimiser, step / num_steps)
            batch = batch_at(step)  # outside autocast: views are float32 whatever the precision
            with device.autocast():
                out = method.loss(batch)
            if step % every == 0:
                optimiser.zero_grad()
            (out.loss / min(every, num_steps - step // every * every)).backward()  # the last may be fewer
            moves = (step + 1) % every == 0 or step + 1 == num_steps
            if moves:
                dist.mean_gradients(method.parameters())
                optimiser.step()
            method.after_step(step + 1, num_steps)
            row = curve.add(step, num_steps, rate, out)
            if row:
                if watch is not None and dist.rank() == 0:
                    watch(row)
                bar.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
                if bar.disable and dist.rank() == 0 and time.monotonic() - told >= TELL_SECONDS:
                    log.info("step %d of %d: loss %.4f", row["step"], num_steps, row["loss"])
                    told = time.monotonic()
            bar.update()
            if not moves or step + 1 == num_steps:
                continue  # gradients that wait for others are not saved
            stop = dist.largest(asked())
            if dist.rank() == 0 and (stop or time.monotonic() - saved >= save_seconds):
                save(file, method, optimiser, curve, step + 1, num_steps)
                saved = time.monotonic()
            if stop:
                dist.wait()  # whoever ends first may end the others: not before all is saved
                name = signal.Signals(stop).name
                raise TrainingError(f"step {step + 1} of {num_steps}: ended by {name}, saved; the same command goes on")
    if not all(tensor.isfinite().all() for tensor in method.state_dict().values()):
        raise TrainingError(f"step {num_steps} of {num_steps}: expected finite weights, got some that are not")
    return curve.rows


class Curve:
    """Rows of means over `every` steps; the values wait on their device, so that it need not be waited for."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        self.waiting: list[Tensor] = []

    def add(self, step: int, num_steps: int, rate: float, out: Step) -> dict[str, float] | None:
        """Notes a step; returns the row that it completes, if any."""
        self.names = ["loss", *out.logs]
        values = torch.stack([value.detach().float() for value in (out.loss, *out.logs.values())])
        self.waiting.append(dist.total(values) / dist.world())
        if (step + 1) % self.every and step + 1 < num_steps:
            return None
        self.check(step, num_steps)
        means = torch.stack(self.waiting).double().mean(0).tolist()
        self.waiting = []
        self.rows.append({"step": step + 1, "learning_rate": rate, **dict(zip(self.names, means, strict=True))})
        return self.rows[-1]

    def check(self, step: int, num_steps: int) -> None:
        """Raises TrainingError if the loss of one of the waiting steps, of which `step` is the last, is not finite."""
        losses = torch.stack(self.waiting)[:, 0].tolist()
        bad = [i for i, value in enumerate(losses) if not math.isfinite(value)]
        if bad:
            first = step + 2 - len(losses) + bad[0]
            raise TrainingError(f"step {first} of {num_steps}: expected a finite loss, got {losses[bad[0]]}")


def save(file: Path, method: nn.Module, optimiser: Optimizer, curve: Curve, step: int, num_steps: int) -> None:
    """Saves everything that the steps from `step` on depend on, whole or not at all."""
    if curve.waiting:
        curve.check(step - 1, num_steps)
    tensors = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
    for i, p in enumerate(p for group in optimiser.param_groups for p in group["params"]):
        tensors |= {f"optimiser.{i}.{name}": value for name, value in optimiser.state[p].items()}
    if curve.waiting:
        tensors["waiting"] = torch.stack(curve.waiting)
    about = {"step": str(step), "names": json.dumps(curve.names), "rows": json.dumps(curve.rows)}
    with whole_file(file) as part:
        # By way of bytes: a full disk is then an OSError like any other.
        part.write_bytes(safetensors.torch.save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, about))


def restore(file: Path, method: nn.Module, optimiser: Optimizer, curve: Curve) -> int:
    """Takes up what `save` left, and returns the step to go on with; 0 where there is nothing."""
    if not file.exists():
        return 0
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, framework="pt") as opened:
        about = opened.metadata()
    prefix = "method."
    method.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    for i, p in enumerate(p for group in optimiser.param_groups for p in group["params"]):
        prefix = f"optimiser.{i}."
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                kept = torch.empty_like(p).copy_(tensor)  # in the memory format of p, as the optimiser would make it
                optimiser.state[p][name.removeprefix(prefix)] = kept
    curve.rows, curve.names = json.loads(about["rows"]), json.loads(about["names"])
    curve.waiting = list(tensors["waiting"].to(next(method.parameters()).device)) if "waiting" in tensors else []
    return int(about["step"])
