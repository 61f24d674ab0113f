"""Several processes on one run: plain torch.distributed, started by torchrun or by SLURM's srun.

Rank r holds the r-th part of each global batch, so rows gathered by rank stand in the order of the batch. With one
process every function here returns its argument.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as td
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pipeline.base.errors import ParamsError, PipelineError, TrainingError, first_line

T = TypeVar("T")


def _together(collective: Callable[..., Any], *tensors: Any) -> None:
    """A collective call; a TrainingError of one line if another process has died."""
    try:
        collective(*tensors)
    except RuntimeError as error:
        found = first_line(error)
        raise TrainingError(f"process {rank()} of {world()}: expected all others, lost one: {found}") from error


@contextmanager
def processes() -> Iterator[None]:
    """Initialises torch.distributed if torchrun or srun started this process; destroys the group at the end."""
    if "WORLD_SIZE" not in os.environ:
        os.environ.update(slurm(os.environ))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        # Some launchers show a process its own GPU alone.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    try:
        store, number, size = next(rendezvous("env://"))
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            # It outlives processes that torchrun starts again, and the addresses of dead ones stay in it.
            store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        td.init_process_group(backend, store=store, rank=number, world_size=size)
    except (ValueError, RuntimeError) as error:
        found = first_line(error)
        raise TrainingError(f"several processes: expected them to find each other, got: {found}") from error
    try:
        yield
    finally:
        td.destroy_process_group()


def slurm(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that torchrun would set, from those that srun sets; none outside a step of several tasks.

    Rank 0 is on the first node of the list. The port follows from the numbers of job and step.
    """
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return {}
    each = [
        int(tasks)
        for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", env["SLURM_STEP_TASKS_PER_NODE"])
        for _ in range(int(times or 1))
    ]
    first = re.sub(r"\[(\d+).*", r"\1", env["SLURM_STEP_NODELIST"]).split(",")[0]
    return {
        "RANK": env["SLURM_PROCID"],
        "WORLD_SIZE": env["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": env["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(each[int(env["SLURM_NODEID"])]),
        "MASTER_ADDR": env.get("MASTER_ADDR", first),
        "MASTER_PORT": env.get(
            "MASTER_PORT", str(20000 + (int(env["SLURM_JOB_ID"]) * 16 + int(env["SLURM_STEP_ID"])) % 10000)
        ),
    }


def world() -> int:
    """Number of processes."""
    return td.get_world_size() if td.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return td.get_rank() if td.is_initialized() else 0


def share(size: int, name: str) -> slice:
    """The part of a global batch that this rank has. Raises ParamsError, naming the parameter, for uneven parts."""
    if size % world():
        raise ParamsError(f"{name}: expected a multiple of the {world()} processes, got {size}")
    part = size // world()
    return slice(rank() * part, (rank() + 1) * part)


def global_batch(count: int) -> tuple[int, slice]:
    """How many rows all processes have, where each has `count`, and which of them are this one's.

    What all draw alike for so many rows, of which each takes its own, does not depend on the number of processes.
    """
    return count * world(), slice(count * rank(), count * (rank() + 1))


def gather(x: Tensor) -> Tensor:
    """The rows of all ranks (as many on each), in the order of ranks; gradients flow back to the rank they belong to.

    The gradient is that of the *sum* of all ranks' losses; `mean_gradients` makes it that of their mean.
    """
    return x if world() == 1 else _Gather.apply(x)


def total(x: Tensor) -> Tensor:
    """The sum over ranks; the gradient is that of the sum of all ranks' losses."""
    return x if world() == 1 else _Total.apply(x)


def largest(value: int) -> int:
    """The largest of all ranks' numbers, reduced on the CPU: no rank waits for its GPU."""
    if world() == 1:
        return value
    box = torch.tensor(value)
    _together(partial(td.all_reduce, op=td.ReduceOp.MAX), box)
    return int(box)


def from_first(value: T) -> T:
    """Rank 0's value, on every rank."""
    if world() == 1:
        return value
    box = [value]
    _together(td.broadcast_object_list, box)  # pickled, but by a process of our own
    return box[0]


def wait() -> None:
    """Returns when all ranks have called it."""
    largest(0)


@torch.no_grad()
def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over ranks; parameters without one, the same on every rank, stay without."""
    found = [p.grad for p in parameters if p.grad is not None]
    if world() > 1 and found:
        flat = torch.cat([grad.flatten() for grad in found])
        _together(td.all_reduce, flat)
        flat /= world()
        for grad, part in zip(found, flat.split([grad.numel() for grad in found]), strict=True):
            grad.copy_(part.view_as(grad))


@contextmanager
def first_enters(manager: AbstractContextManager[T]) -> Iterator[T]:
    """Rank 0 enters the manager; every rank gets its value, or raises the PipelineError that it raised."""
    if world() == 1:
        with manager as value:
            yield value
        return
    with ExitStack() as stack:
        box: list[Any] = [None, None]
        if rank() == 0:
            try:
                box[0] = stack.enter_context(manager)
            except PipelineError as error:
                box[1] = error
        value, error = from_first(box)
        if error is not None:
            raise error
        yield value


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world())]
        _together(td.all_gather, parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The gradient of the sum of all ranks' losses for this rank's rows."""
        grad = grad.clone(memory_format=torch.contiguous_format)
        _together(td.all_reduce, grad)
        return grad[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        _together(td.all_reduce, out)
        return out

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        """The gradient of the sum of all ranks' losses for each term."""
        grad = grad.clone(memory_format=torch.contiguous_format)
        _together(td.all_reduce, grad)
        return grad


@torch.no_grad()
def as_first(net: nn.Module) -> None:
    """Copies rank 0's parameters and buffers to all ranks, whose GPUs need not agree to the bit."""
    for tensor in net.state_dict().values() if world() > 1 else ():
        dense = tensor.contiguous()
        _together(td.broadcast, dense, 0)
        tensor.copy_(dense)
