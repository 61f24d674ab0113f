"""The one training loop, for self- and semi-supervised methods alike.

Step t is a function of (seed, t) and of the state after step t - 1: batches, views and torch's own random numbers are
drawn anew from the step's number. So a run that was killed at any step ends in the same bytes on a CPU.
"""

import json
import logging
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from pipeline.base import rng
from pipeline.base.errors import DivergedError, TrainingError
from pipeline.base.files import whole_file
from pipeline.nn.device import Device
from pipeline.nn.optim import OptimParams
from pipeline.parallel import dist
from pipeline.parallel.heap import keep_freed_memory
from pipeline.parallel.stop import stop_requests

CURVE_ROWS = 200
FORECAST_SECONDS = 3.0  # of steps, after the first one, before the log says how long all will take
LOG_SECONDS = 60.0  # between lines of the log, where there is no terminal for a bar
UNITS = (3600, "h"), (60, "min"), (1, "s")  # seconds of each
log = logging.getLogger(__name__)
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Step:
    """A method's result on a batch: the loss to minimise, and scalars for the curve."""

    loss: Tensor
    logs: Mapping[str, Tensor] = field(default_factory=dict)
    features: Sequence[Tensor] = ()  # (b, f) of the backbone for the first and the second view, for an add-on's term


class Method(nn.Module, ABC, Generic[Batch]):
    """A way to train: two verbs. All that a method must remember is in its state dict.

    `progress` is the share of the steps that are done, which `fit` sets before each. Modules in `constant_rate` keep
    the first learning rate throughout; those in `rate_scale` have so many times the rate.
    """

    constant_rate: tuple[nn.Module, ...] = ()
    rate_scale: tuple[tuple[nn.Module, float], ...] = ()
    progress = 0.0

    @abstractmethod
    def loss(self, batch: Batch) -> Step:
        """The loss of a batch; changes nothing that a second call would notice, running statistics apart."""

    def after_step(self, step: int, num_steps: int) -> None:
        """What follows the optimiser's step: teachers, queues. `step` counts from 1."""


def fit(
    method: Method[Batch],
    batch_at: Callable[[int], Batch],
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

    `state` is a folder. The run is saved there every `save_seconds`, and goes on from there. `watch` gets each row of
    the curve when it is complete. With several processes each has its part of the batches, gradients are averaged, and
    rank 0 saves. A step is a batch. With `optim.accumulate` the optimiser moves once for so many batches, by their mean
    gradient, and once at the end for the rest; queues and teachers move at each batch.

    Raises DivergedError at the first step whose loss is not finite, or at the end if a weight is not finite; no such
    state is saved. A process that gets SIGTERM, SIGUSR1 or SIGINT makes all of them save and raise TrainingError.
    """
    optimiser = optim.optimiser(method)
    curve = Curve(max(1, num_steps // CURVE_ROWS))
    file = state / "state.safetensors"
    start = restore(file, method, optimiser, curve)
    starts = dist.gather(torch.tensor([start], device=device.device)).tolist()
    if len(set(starts)) > 1:
        raise TrainingError(f"{state}: expected a folder that all processes see, got resumes at steps {starts}")
    if start and dist.rank() == 0:
        log.info("continues after step %d of %d", start, num_steps)
    saved = logged = began = time.monotonic()
    said = False
    method.train()
    methods = [module for module in method.modules() if isinstance(module, Method)]  # one may have others as its parts
    every = optim.accumulate
    with (
        tqdm(total=num_steps, initial=start, disable=None if dist.rank() == 0 else True, unit="step") as bar,
        stop_requests() as requested,
    ):
        for step in range(start, num_steps):
            torch.manual_seed(rng.number(seed, "fit", step))
            rate = optim.move(optimiser, step / num_steps)
            for each in methods:
                each.progress = step / num_steps
            batch = batch_at(step)  # outside autocast: views are float32 whatever the precision
            with device.autocast():
                out = method.loss(batch)
            (out.loss / min(every, num_steps - step // every * every)).backward()  # the last may be fewer
            moves = (step + 1) % every == 0 or step + 1 == num_steps
            if moves:
                dist.mean_gradients(method.parameters())
                if optim.clip_norm > 0:
                    nn.utils.clip_grad_norm_(method.parameters(), optim.clip_norm)
                optimiser.step()
                optimiser.zero_grad()
            method.after_step(step + 1, num_steps)
            row = curve.add(step, num_steps, rate, out)
            if row:
                if watch is not None and dist.rank() == 0:
                    watch(row)
                bar.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
                if bar.disable and dist.rank() == 0 and time.monotonic() - logged >= LOG_SECONDS:
                    log.info("step %d of %d: loss %.4f", row["step"], num_steps, row["loss"])
                    logged = time.monotonic()
            bar.update()
            now = time.monotonic()
            if step == start:
                began = now  # the first step is slower: threads start, and torch.compile compiles
                keep_freed_memory()  # what stays from step to step is allocated by now
            elif not said and step + 1 < num_steps and now - began >= FORECAST_SECONDS and dist.rank() == 0:
                log.info(forecast(num_steps - step - 1, (step - start) / (now - began)))
                said = True
            if not moves or step + 1 == num_steps:
                continue  # gradients that wait for others are not saved
            stop = dist.largest(requested())
            if dist.rank() == 0 and (stop or time.monotonic() - saved >= save_seconds):
                save(file, method, optimiser, curve, step + 1, num_steps)
                saved = time.monotonic()
            if stop:
                dist.wait()  # whoever ends first may end the others: not before all is saved
                name = signal.Signals(stop).name
                raise TrainingError(
                    f"step {step + 1} of {num_steps}: ended by {name}, saved; the same command continues"
                )
    if not all(tensor.isfinite().all() for tensor in method.state_dict().values()):
        raise DivergedError(f"step {num_steps} of {num_steps}: expected finite weights, got some that are not")
    return curve.rows


def forecast(steps: int, speed: float) -> str:
    """How long the steps that are left will take, at `speed` steps a second, which were measured."""
    seconds = steps / speed
    size, unit = next(pair for pair in UNITS if seconds >= 2 * pair[0] or pair[0] == 1)
    return f"about {seconds / size:.0f} {unit} to go: {steps:,} steps, {speed:.2g} a second"


class Curve:
    """Rows of means over `every` steps. Values stay on the device until a row is complete."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        self.waiting: list[Tensor] = []

    def add(self, step: int, num_steps: int, rate: float, out: Step) -> dict[str, float] | None:
        """Adds a step; returns the row that it completes, if any."""
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
        """Raises DivergedError if a loss since the last row is not finite; `step` is the last step."""
        losses = torch.stack(self.waiting)[:, 0].tolist()
        bad = [i for i, value in enumerate(losses) if not math.isfinite(value)]
        if bad:
            first = step + 2 - len(losses) + bad[0]
            raise DivergedError(
                f"step {first} of {num_steps}: expected a finite loss, got {losses[bad[0]]}; "
                "a lower optim.learning_rate of the stage, or an optim.clip_norm above 0, may help"
            )


def save(file: Path, method: nn.Module, optimiser: Optimizer, curve: Curve, step: int, num_steps: int) -> None:
    """Saves all that later steps depend on: the method, the optimiser and the curve."""
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
    """Loads what `save` wrote and returns the next step; 0 if nothing was saved."""
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
                # In the memory format of p, as the optimiser would make it; AdamW also counts steps, in a number.
                kept = torch.empty_like(p) if tensor.shape == p.shape else torch.empty(tensor.shape, device=p.device)
                optimiser.state[p][name.removeprefix(prefix)] = kept.copy_(tensor)
    curve.rows, curve.names = json.loads(about["rows"]), json.loads(about["names"])
    curve.waiting = list(tensors["waiting"].to(next(method.parameters()).device)) if "waiting" in tensors else []
    return int(about["step"])
