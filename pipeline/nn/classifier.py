"""A backbone with a head that names classes, and the files that both travel in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.nn.arrays import from_arrays, to_arrays
from pipeline.nn.backbones import BACKBONES, Backbone
from pipeline.nn.device import channels_last
from pipeline.nn.embedder import Embedder, View
from pipeline.nn.heads import Cosine, Head, Levels, Nearest, describe
from pipeline.nn.mlp import Layers
from pipeline.nn.neighbour_vote import NeighbourVote
from pipeline.nn.pass_size import images_a_pass
from pipeline.parallel.heap import keep_freed_memory

HEADS: dict[str, Callable[..., Head]] = {head.name: head for head in (Levels, Nearest, Cosine, NeighbourVote)}
INFERENCE_BATCH = 500  # images of a pass without gradient, at most, where no parameter says how many


class Classifier(nn.Module):
    """Logits for images from each readout of the head; `size` is the (height, width) that it was trained on.

    The head stands on the backbone's features, or on the vectors that join several views (`Embedder`).
    """

    def __init__(self, backbone: Backbone | Embedder, head: Head, size: tuple[int, int]) -> None:
        super().__init__()
        self.backbone, self.head, self.size = backbone, head, size

    @property
    def classes(self) -> list[str]:
        """The names of the finest classes: `classes[i]` is that of output i."""
        return self.head.names["label"]

    @property
    def channels(self) -> int:
        """Number of channels of the images it takes."""
        return self.backbone.about["channels"]

    def images_a_pass(self, most: int = INFERENCE_BATCH) -> int:
        """How many images to give it at once where no gradient is wanted, so that memory stays bounded."""
        return images_a_pass(self.backbone, (self.channels, *self.size), most)

    def forward(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Logits of each readout, `label` first; images are uint8 or floats in [0, 1]."""
        return self.head(self.backbone(images))

    @torch.inference_mode()
    def probabilities(self, pixels: UInt8[Tensor, "n c h w"], batch_size: int) -> dict[str, Float[Tensor, "n _"]]:
        """Softmax outputs of each readout in eval mode and float32, a batch at a time, on the CPU."""
        self.eval()
        device = next(self.parameters()).device
        parts: dict[str, list[Tensor]] = {name: [] for name in self.head.names}
        for part in pixels.split(batch_size) if len(pixels) else ():
            for name, logits in self(part.to(device)).items():
                parts[name].append(logits.float().softmax(dim=1).cpu())
            keep_freed_memory()
        return {
            name: torch.cat(found) if found else torch.empty(0, len(self.head.names[name]))
            for name, found in parts.items()
        }

    def write(self, folder: Path, extra: dict[str, Any]) -> None:
        """Writes model.safetensors and model.json into an existing folder; `extra` joins the JSON."""
        about = {"backbone": self.backbone.about, "head": describe(self.head), "size": list(self.size), **extra}
        Weights(to_arrays(self), about).write(folder, "model")

    @classmethod
    def read(cls, folder: Path) -> "Classifier":
        """The model in a folder that `train` wrote, on the CPU and in eval mode."""
        weights = Weights.read(folder, "model")
        about = weights.about
        try:
            backbone = build(about["backbone"])
            model = cls(backbone, build_head(about["head"], backbone.dim), tuple(about["size"]))
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise ArtifactError(
                f"{folder / 'model.json'}: expected a model written by train, got: {error!r}"
            ) from error
        return from_arrays(model, weights, folder / "model.safetensors").eval()


def build_head(about: Mapping[str, Any], dim: int) -> Head:
    """A fresh head from the description that travels with a model."""
    return HEADS[about["name"]](dim, dict(about["names"]), **about["options"])


def build(about: dict[str, Any]) -> Backbone | Embedder:
    """A backbone with fresh weights, or an embedder around one, from the description that travels with it."""
    if "views" in about:
        return Embedder(_backbone(about["backbone"]), [View(**view) for view in about["views"]])
    return _backbone(about)


def read_backbone(folder: Path, head_layer: int = 0) -> Backbone:
    """The backbone that `pretrain` wrote, with the first hidden layers of its head on top, `head_layer` of them.

    Raises ParamsError where the head has fewer.
    """
    weights = Weights.read(folder, "backbone")
    try:
        about, arrays = dict(weights.about["backbone"]), dict(weights.arrays)
        if head_layer > 0:
            head = Weights.read(folder, "head")
            about["hidden"] = hidden_layers(head.about["layers"], head_layer)
            arrays |= {f"hidden.{n}": x for n, x in head.arrays.items() if int(n.split(".")[0]) < len(about["hidden"])}
        backbone = _backbone(about)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / 'backbone.json'}: expected what pretrain wrote, got: {error!r}") from error
    return from_arrays(backbone, Weights(arrays, about), folder / "backbone.safetensors")


def hidden_layers(layers: Layers, count: int) -> Layers:
    """The layers of a head up to the activation of its hidden layer number `count`."""
    ends = [i + 1 for i, layer in enumerate(layers) if "activation" in layer]
    if count > len(ends):
        raise ParamsError(
            f"train.finetune.head_layer: expected at most {len(ends)}, the hidden layers of the head that pretrain "
            f"left (none, rotation, jigsaw, context, split_brain and those that mask leave no head), got {count}"
        )
    return layers[: ends[count - 1]]


def untrained(backbone: Backbone) -> Backbone:
    """The same network with fresh weights (torch's own chance) and the same normalisation."""
    net = _backbone(backbone.about)
    net.mean.copy_(backbone.mean)
    net.std.copy_(backbone.std)
    return channels_last(net)


def _backbone(about: Mapping[str, Any]) -> Backbone:
    options = BACKBONES[about["name"]](**about["options"])
    unset = torch.zeros(about["channels"]), torch.ones(about["channels"])
    return Backbone(about["name"], options, *unset, about.get("hidden", ()))
