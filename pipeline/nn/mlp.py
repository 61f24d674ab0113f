"""Small networks on top of a backbone."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
Layers = Sequence[Mapping[str, Any]]  # what `described` says of each layer


def mlp(
    dims: Sequence[int],
    *,
    norm: bool,
    last_norm: bool = False,
    affine: bool = True,
    last_bias: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Linear layers from dims[0] to dims[-1] with an activation between them: one layer if there are two dims.

    `norm` puts batch norm before each activation, `last_norm` one at the end, there with scale and shift if `affine`.
    A layer that a norm follows has no bias, for the norm would take it away; the last has one if `last_bias`.
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(pairwise(dims)):
        last = i == len(dims) - 2
        normed = last_norm if last else norm
        layers.append(nn.Linear(d_in, d_out, bias=not normed and (last_bias or not last)))
        if normed:
            layers.append(nn.BatchNorm1d(d_out, affine=affine or not last))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


class Unit(nn.Module):
    """Each row at length 1."""

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return F.normalize(x, dim=1)


class Encoder(nn.Module):
    """A backbone with a projection head on top."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b d"]]:
        """Features of the backbone, and their projections."""
        features = self.backbone(images)
        return features, self.head(features)


def flat(net: nn.Sequential) -> nn.Sequential:
    """The same layers, those of sequences within it too, in one sequence."""

    def leaves(net: nn.Module) -> Iterator[nn.Module]:
        for child in net.children():
            yield from leaves(child) if isinstance(child, nn.Sequential) else (child,)

    return nn.Sequential(*leaves(net))


def described(net: nn.Sequential) -> Layers:
    """What `built` needs to make a flat sequence again: the layers of `mlp`s, layer norm without scale, `Unit`."""

    def of(layer: nn.Module) -> Mapping[str, Any]:
        if isinstance(layer, nn.Linear):
            return {"linear": [layer.in_features, layer.out_features], "bias": layer.bias is not None}
        if isinstance(layer, _BatchNorm):
            return {"norm": layer.num_features, "affine": layer.affine}
        if isinstance(layer, nn.LayerNorm):
            return {"layer_norm": layer.normalized_shape[0]}
        if isinstance(layer, Unit):
            return {"unit": True}
        return {"activation": next(name for name, kind in ACTIVATIONS.items() if type(layer) is kind)}

    return [of(layer) for layer in net]


def width(layers: Layers) -> int:
    """Of what the layers make: that of the last linear one."""
    return next(layer["linear"][1] for layer in reversed(layers) if "linear" in layer)


def built(layers: Layers) -> nn.Sequential:
    """The layers that were described, with random weights (torch's own chance)."""

    def one(layer: Mapping[str, Any]) -> nn.Module:
        if "linear" in layer:
            return nn.Linear(*layer["linear"], bias=layer["bias"])
        if "norm" in layer:
            return nn.BatchNorm1d(layer["norm"], affine=layer["affine"])
        if "layer_norm" in layer:
            return nn.LayerNorm(layer["layer_norm"], elementwise_affine=False)
        return Unit() if "unit" in layer else ACTIVATIONS[layer["activation"]]()

    return nn.Sequential(*map(one, layers))
