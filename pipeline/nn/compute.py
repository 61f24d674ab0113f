"""Passes of a backbone in less time or memory that compute the same: torch.compile and recomputed activations."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import Backbone
from pipeline.nn.norm import statistics_kept
from pipeline.nn.split_resnet import Split
from pipeline.nn.vit import Transformer

BACKEND = "inductor"  # of torch.compile


def reduce_cost(method: nn.Module, *, compiled: bool, recompute: bool) -> None:
    """Changes the passes of all backbones in a method, in place; names in its state dict stay.

    `compiled` has torch.compile make one kernel of several operations: worth its half a minute in long runs. With
    `recompute` the backward pass computes the activations inside each block anew, so memory holds those between blocks
    alone, for about a third more time (Chen et al. 2016); batch norm's running statistics move once, as ever. Raises
    ParamsError for both together, and for a backbone without such blocks.
    """
    if compiled and recompute:
        raise ParamsError("machine.compile: expected false with recompute, got both: torch cannot compile such passes")
    for module in method.modules():
        if isinstance(module, Backbone):
            if recompute:
                blocks = _blocks(module.body)
                if not blocks:
                    raise ParamsError(
                        f"machine.recompute: expected a backbone of blocks in sequence, got {module.about['name']}"
                    )
                for block in blocks:
                    block.forward = partial(
                        checkpoint, block.forward, use_reentrant=False, context_fn=partial(_contexts, block)
                    )
            if compiled:
                module.compile(backend=BACKEND)  # not its body: torch compiles none of its own containers
                body = module.body
                for kind, name in ((Transformer, "tokens"), (Split, "maps")):  # for methods that call this alone
                    if isinstance(body, kind):
                        # In the method's place, as torch compiles nothing but forward in place.
                        vars(body)[name] = torch.compile(getattr(body, name), backend=BACKEND)


def _blocks(net: nn.Module) -> list[nn.Module]:
    """The outermost modules that follow each other in a sequence and are made of others."""
    blocks = []
    for child in net.children():
        if isinstance(net, nn.Sequential) and any(child.children()):
            blocks.append(child)
        else:
            blocks += _blocks(child)
    return blocks


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), statistics_kept(block)
