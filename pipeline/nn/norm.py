"""Batch norm over the batches of all processes, on any device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.base.errors import ParamsError
from pipeline.parallel import dist

M = TypeVar("M", bound=nn.Module)
PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """In the block batch norm uses each batch's own statistics as ever, but its running ones stay.

    For passes over parts of images: what is embedded later are whole ones.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    before = list(torch._foreach_add(counts, 0)) if counts else []
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        if counts:
            torch._foreach_copy_(counts, before)


@torch.no_grad()
def renew_statistics(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Sets batch norm's running statistics to the mean of those of the batches; leaves the network in eval mode.

    Norms that train mode leaves in eval mode, those of frozen layers, keep theirs.
    """
    norms = [module for module in net.train().modules() if isinstance(module, _BatchNorm) and module.training]
    momenta = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        norm.train()
    for i, batch in enumerate(batches):
        for norm in norms:
            norm.momentum = 1 / (i + 1)
        net(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def apart(net: nn.Module) -> bool:
    """Whether there are several processes and a batch norm of the network sees its own process's rows alone."""
    return dist.world() > 1 and any(type(module) in PLAIN and module.training for module in net.modules())


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of the rows of all ranks, as many on each; torch's own needs a GPU."""

    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def _check_input_dim(self, x: Tensor) -> None: ...

    def forward(self, x: Tensor) -> Tensor:
        """The rows with the mean 0 and the variance 1 of all ranks' rows, then scaled and shifted."""
        if not self.training or dist.world() == 1:
            return super().forward(x)
        over = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        exact = x if x.dtype == torch.float64 else x.float()
        count = exact.numel() // exact.shape[1] * dist.world()
        mean = dist.total(exact.sum(over)) / count
        centred = exact - mean.view(shape)
        var = dist.total(centred.square().sum(over)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var * count / max(count - 1, 1) - self.running_var)
        out = centred * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)


def synchronised(net: M, stage: str) -> M:
    """The network with each batch norm replaced by one that sees the batches of all processes.

    Raises ParamsError, naming the stage's own value, for a norm that does more than torch's (timm has some): that would
    be lost.
    """
    if dist.world() == 1:
        return net
    for module in net.modules():
        if isinstance(module, _BatchNorm) and type(module) not in PLAIN:
            raise ParamsError(
                f"{stage}.sync_bn: expected false for several processes and a backbone with "
                f"{type(module).__name__}, got true"
            )
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                sync = SyncBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
                sync.load_state_dict(child.state_dict())
                for p in sync.parameters():
                    p.requires_grad_(next(child.parameters()).requires_grad)
                setattr(module, name, sync.train(child.training))
    return net
