"""Labelled and unlabelled images through one network: what batch norm sees is a choice.

`joint` is one pass, whose statistics are those of all images together: labelled ones are few and shown often, and
unlabelled ones keep the statistics from becoming theirs. `interleaved` makes passes of as many images as the first part
has, each with the same share of every kind, as the authors of MixMatch do: the same mixture in noisier statistics.
`split` passes each kind by itself; running statistics then come from unlabelled weak views, which is what a model sees
later.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.nn.classifier import Classifier
from pipeline.nn.norm import statistics_kept

Passes = Literal["joint", "interleaved", "split"]
Logits = dict[str, Float[Tensor, "b _"]]


def through(net: Classifier, parts: Sequence[Float[Tensor, "_ c h w"]], how: Passes, counts: int = 1) -> list[Logits]:
    """Logits in float32 of each part and readout, in the order of the parts; an empty part gives empty logits.

    The parts are the labelled images and any number of unlabelled views. Of a `split` pass only part number `counts`
    moves the running statistics, or the first with images where that one has none.
    """
    sizes = [len(part) for part in parts]
    if how == "split":
        some = [i for i, size in enumerate(sizes) if size]
        moving = counts if counts in some else some[0]
        passed: dict[int, Logits] = {}
        for i in some:
            with nullcontext() if i == moving else statistics_kept(net):
                passed[i] = _float(net(parts[i]))
        nothing = {name: values[:0] for name, values in next(iter(passed.values())).items()}
        return [passed.get(i, nothing) for i in range(len(parts))]
    images = torch.cat(list(parts))
    if how == "joint":
        whole = _float(net(images))
    else:
        groups = max(1, len(images) // max(sizes[0] or len(images), 2))
        # Every groups-th image, so that each group has its share of each part.
        order = torch.cat([torch.arange(g, len(images), groups, device=images.device) for g in range(groups)])
        back = order.argsort()
        outs = [_float(net(images[rows])) for rows in order.tensor_split(groups)]
        whole = {name: torch.cat([out[name] for out in outs])[back] for name in outs[0]}
    pieces = {name: logits.split(sizes) for name, logits in whole.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(len(parts))]


def _float(logits: Logits) -> Logits:
    return {name: values if values.dtype == torch.float64 else values.float() for name, values in logits.items()}
