"""What stands on a backbone in a classifier and says the classes of its features, at each level or in several ways."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.mlp import Layers, built, mlp, width
from pipeline.nn.primitives import in_float32, passing, unit

LINEAR = "linear"  # the name of the linear layer's readout where another one is the main one


class Head(nn.Module, ABC):
    """Logits for features by the name of each readout; `names` has their classes, `label`, the finest level, first.

    `options` are the arguments beside dim and names that build it again.
    """

    name: str

    def __init__(self, names: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__()
        self.names = {readout: list(classes) for readout, classes in names.items()}
        self.options = options

    @abstractmethod
    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """Logits of each readout."""

    @abstractmethod
    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        """Weight and bias of the linear layer that names the finest classes, from all features."""


class Levels(Head):
    """One linear layer a level, on features cut into a slice for each level; with one level it is a linear classifier.

    The finest level sees its own slice alone, a coarser one its own and those of all finer levels, through which it
    passes no gradient: what fine classes are told by, a coarse label moves only through the layers below (Garg et al.
    2022, HierMatch).
    """

    name = "levels"

    def __init__(self, dim: int, names: Mapping[str, Sequence[str]]) -> None:
        super().__init__(names)
        if dim < len(names):
            raise ParamsError(f"train: expected a backbone of at least {len(names)} features, one a level, got {dim}")
        width = dim // len(names)
        # The finest slice lies last and takes what is over.
        self.starts = [(len(names) - 1 - i) * width for i in range(len(names))]
        self.ends = [dim, *self.starts[:-1]]
        starts = zip(self.starts, names.values(), strict=True)
        layers = [nn.Linear(dim - start, len(classes)) for start, classes in starts]
        for layer in layers:
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        found = {}
        for start, end, layer, level in zip(self.starts, self.ends, self.layers, self.names, strict=True):
            found[level] = layer(torch.cat([h[:, start:end], h[:, end:].detach()], dim=1))
        return found

    def layer(self, level: int) -> nn.Linear:
        """The layer of a level, which sees the features from `starts[level]` on."""
        return cast(nn.Linear, self.layers[level])

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        """The finest level's; its weight is 0 on the coarser slices."""
        return F.pad(self.layer(0).weight, (self.starts[0], 0)), self.layer(0).bias


class Nearest(Head):
    """The classes of the most similar of some labelled images (PAWS, Assran et al. 2021), beside them a linear layer.

    `supports` are unit projections of labelled images with their soft labels `answers`, each times the weight of its
    image; both come with training.
    """

    name = "nearest"
    supports: Tensor
    answers: Tensor

    def __init__(
        self,
        dim: int,
        names: Mapping[str, Sequence[str]],
        *,
        hidden_dim: int,
        out_dim: int,
        temperature: float,
        num_supports: int,
    ) -> None:
        super().__init__(
            names, hidden_dim=hidden_dim, out_dim=out_dim, temperature=temperature, num_supports=num_supports
        )
        classes = len(names["label"])
        self.layer = nn.Linear(dim, classes)
        nn.init.zeros_(self.layer.bias)
        self.projector = mlp([dim, hidden_dim, hidden_dim, out_dim], norm=True)
        self.temperature = temperature
        self.register_buffer("supports", torch.zeros(num_supports, out_dim))
        self.register_buffer("answers", torch.full((num_supports, classes), 1 / classes))

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """Log-probabilities by the supports; logits of the linear layer, which passes no gradient to the features."""
        p = soft_nearest(self.projector(h), self.supports, self.answers, self.temperature)
        return {"label": p.clamp(min=1e-12).log(), LINEAR: self.layer(h.detach())}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.layer.weight, self.layer.bias


class Cosine(Head):
    """The cosine of an image's projection to the vector of each class, over a temperature; beside it a linear layer.

    `layers` say what the projector is made of (`pipeline.nn.mlp.described`).
    """

    name = "cosine"

    def __init__(self, dim: int, names: Mapping[str, Sequence[str]], *, layers: Layers, temperature: float) -> None:
        super().__init__(names, layers=list(layers), temperature=temperature)
        classes = len(names["label"])
        self.projector, self.temperature = built(layers), temperature
        self.vectors = nn.Linear(width(layers), classes, bias=False)
        nn.init.normal_(self.vectors.weight, std=1 / 8)  # ProxyNCA++'s: the shorter, the faster they turn
        self.layer = nn.Linear(dim, classes)
        nn.init.zeros_(self.layer.bias)

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """Logits by the classes' vectors; those of the linear layer, which passes no gradient to the features.

        A class whose vector is 0 has no probability.
        """
        logits = cosine_logits(self.projector(h), self.vectors.weight, self.temperature)
        logits = logits.masked_fill(~self.vectors.weight.any(dim=1), torch.finfo(logits.dtype).min / 2)
        return {"label": logits, LINEAR: self.layer(h.detach())}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.layer.weight, self.layer.bias


class FeaturesAndLogits(Head):
    """Another head in training: an image's features, and its logits, which pass `gradient` of theirs on to them."""

    def __init__(self, head: Head, gradient: float) -> None:
        super().__init__(head.names)
        self.head, self.gradient = head, gradient

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        return {"features": h, **self.head(passing(h, self.gradient))}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.head.linear()


@in_float32
def cosine_logits(z: Float[Tensor, "b d"], vectors: Float[Tensor, "k d"], temperature: float) -> Float[Tensor, "b k"]:
    """The cosine of each z to each class's vector, over the temperature."""
    return unit(z) @ unit(vectors).T / temperature


def soft_nearest(
    z: Float[Tensor, "b d"],
    supports: Float[Tensor, "m d"],
    answers: Float[Tensor, "m k"],
    temperature: float,
    kept: Bool[Tensor, " m"] | None = None,
) -> Float[Tensor, "b k"]:
    """The mean of the supports' soft labels by softmax(cosine / temperature) (eq. 1): a distribution if they are.

    Supports that are not `kept`, where it is given, do not count. In float32 whatever the precision; gradients flow to
    z and to the supports.
    """
    with torch.autocast(z.device.type, enabled=False):
        exact = z if z.dtype == torch.float64 else z.float()
        similar = F.normalize(exact, dim=1) @ F.normalize(supports.to(exact.dtype), dim=1).T
        if kept is not None:  # no selection, as only the device knows how many there are
            similar = similar.masked_fill(~kept, -torch.inf)
        return (similar / temperature).softmax(dim=1) @ answers.to(exact.dtype)


def describe(head: Head) -> dict[str, Any]:
    """What a classifier needs to build the head again, less the number of features."""
    # Pairs, as the keys of our JSON are sorted and levels have an order.
    return {"name": head.name, "names": [list(pair) for pair in head.names.items()], "options": head.options}
