"""Labelled and unlabelled images go through one network: `train.batch_norm` says what batch norm sees at a time.

`joint`: all images in one pass. Labelled ones are few and shown often; unlabelled ones keep the statistics from
becoming theirs. `interleaved`: passes of as many images as the first part has, each with the same share of every part,
as the authors of MixMatch do: the same mixture in noisier statistics. `split`: each part by itself; running statistics
then come from unlabelled weak views, which is what a model sees later.
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


def forward_parts(
    net: Classifier, parts: Sequence[Float[Tensor, "_ c h w"]], how: Passes, counts: int = 1
) -> list[Logits]:
    """Logits in float32 of each part and readout, in the order of the parts; an empty part gives empty logits.

    The parts are the labelled images and any number of unlabelled views. Where the passes are `split`, only part number
    `counts` moves the running statistics, or the first with images where that one has none.
    """
    sizes = [len(part) for part in parts]
    if how == "split":
        filled = [i for i, size in enumerate(sizes) if size]
        moving = counts if counts in filled else filled[0]
        logits: dict[int, Logits] = {}
        for i in filled:
            with nullcontext() if i == moving else statistics_kept(net):
                logits[i] = _float(net(parts[i]))
        empty = {name: values[:0] for name, values in logits[moving].items()}
        return [logits.get(i, empty) for i in range(len(parts))]
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
    split = {name: values.split(sizes) for name, values in whole.items()}
    return [{name: values[i] for name, values in split.items()} for i in range(len(parts))]


def _float(logits: Logits) -> Logits:
    return {name: values if values.dtype == torch.float64 else values.float() for name, values in logits.items()}
