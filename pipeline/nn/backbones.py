"""Images to features: the table of architectures, and the network that carries its normalisation."""

from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pipeline.base.errors import ParamsError, first_line
from pipeline.nn.architecture import Architecture
from pipeline.nn.device import channels_last
from pipeline.nn.mlp import Layers, built, width
from pipeline.nn.resnets import (
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    SmallResNet,
    WideResNet10x1,
    WideResNet28x2,
    WideResNet28x8,
    WideResNet28x10,
)
from pipeline.nn.split_resnet import SplitResNet
from pipeline.nn.timm_models import TimmModel
from pipeline.nn.vit import Transformer, ViTBase, ViTSmall, ViTTiny

INTERMEDIATE = 2  # stages before the features, at most, whose maps are a view of the images

BACKBONES: dict[str, type[Architecture]] = {
    "small_resnet": SmallResNet,
    "wide_resnet10_1": WideResNet10x1,
    "wide_resnet28_2": WideResNet28x2,
    "wide_resnet28_8": WideResNet28x8,
    "wide_resnet28_10": WideResNet28x10,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "split_resnet": SplitResNet,
    "vit_tiny": ViTTiny,
    "vit_small": ViTSmall,
    "vit_base": ViTBase,
    "timm": TimmModel,
}


class Backbone(nn.Module):
    """A network that takes images as uint8 or as floats in [0, 1]: its normalisation travels with its weights."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        options: Architecture,
        mean: Float[Tensor, " c"],
        std: Float[Tensor, " c"],
        hidden: Layers = (),
    ) -> None:
        """`hidden` are layers of pretraining's head, which then stand on the architecture and make its features."""
        super().__init__()
        self.about: dict[str, Any] = {"name": name, "options": options.model_dump(), "channels": len(mean)}
        self._options = options
        self.body, self.dim = options.build(len(mean))
        self._stages = dict(list(options.stages(self.body).items())[-INTERMEDIATE:])
        self.hidden = built(hidden)
        if hidden:
            self.about["hidden"] = list(hidden)
            self.dim = width(hidden)
        self._num_frozen = 0
        self.register_buffer("mean", mean.float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.float().reshape(1, -1, 1, 1))
        for module in self.body.modules():
            if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1:
                module.register_forward_pre_hook(_refuse_pixel)

    def forward(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features before any projection; not unit vectors. Raises ParamsError for a size that it does not take."""
        x = self.normalised(images)
        try:
            return self.hidden(self.body(x))
        except AssertionError as error:  # timm's way to refuse a size
            raise _not_taken(self, x, error) from error

    def with_intermediate(
        self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b _"]]]:
        """The features, and the mean of the maps of the last stages before them, from the image on, by one pass.

        At most `INTERMEDIATE` means, in float32; none of a network without stages of maps. Raises as `forward` does.
        """
        means: list[Tensor] = []

        def note(channels: int, _: nn.Module, __: object, out: Tensor) -> None:
            if out.ndim == 4 and out.shape[1] == channels:  # transformers give tokens, or channels last
                means.append(out.float().mean(dim=(2, 3)))

        hooks = [
            self.body.get_submodule(name).register_forward_hook(partial(note, channels))
            for name, channels in self._stages.items()
        ]
        try:
            return self(images), means
        finally:
            for hook in hooks:
                hook.remove()

    def maps(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d s t"]:
        """What is pooled in the end: the mean of these maps is the feature. Raises ParamsError where it is not."""
        given: list[Tensor] = []
        pools = [module for module in self.body.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
        hooks = [pool.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for pool in pools[-1:]]
        try:
            self.body(self.normalised(images))
        finally:
            for hook in hooks:
                hook.remove()
        if not given or given[0].shape[1] != self.dim:
            raise ParamsError(
                f"pretrain.backbone: expected one whose features are means of its last maps, got {self.about['name']}"
            )
        return given[0]

    def normalised(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images as the body takes them."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        return self._options.seen(images, self.mean, self.std).contiguous(memory_format=torch.channels_last)

    def transformer(self) -> Transformer:
        """The body of a vision transformer of ours, for methods that mask patches."""
        return cast(Transformer, self.body)

    def freeze(self, share: float) -> None:
        """Keeps the first layers as they are, a share of those with weights: no gradient, batch norm in eval mode."""
        self._num_frozen = round(share * len(self._layers()))
        for layer in self._layers()[: self._num_frozen]:
            for p in layer.parameters(recurse=False):
                p.requires_grad = False

    def train(self, mode: bool = True) -> "Backbone":
        """Train mode for all but frozen layers."""
        super().train(mode)
        for layer in self._layers()[: self._num_frozen]:
            layer.training = False
        return self

    def _layers(self) -> list[nn.Module]:
        """The modules with weights of their own, in the order in which they are built: from the image on."""
        return [module for module in self.body.modules() if any(True for _ in module.parameters(recurse=False))]


def fresh(name: str, options: Architecture, pixels: UInt8[Tensor, "n c h w"]) -> Backbone:
    """A backbone with random weights (torch's own chance), normalised by these images' mean and standard deviation.

    Raises ParamsError where the network does not take images of this size and number of channels.
    """
    counts = torch.stack([torch.bincount(plane.flatten(), minlength=256) for plane in pixels.unbind(1)]).double()
    levels = torch.arange(256, dtype=torch.double) / 255
    share = counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    std = (share * (levels - mean[:, None]).square()).sum(1).sqrt()
    # Images of one colour have no deviation; 1/255 is the smallest step there is.
    net = channels_last(Backbone(name, options, mean, std.clamp(min=1 / 255)))
    try_size(net, (pixels.shape[2], pixels.shape[3]))
    return net


@torch.no_grad()
def try_size(net: Backbone, size: tuple[int, int]) -> None:
    """Sends an image of a size through the network as in eval mode. Raises ParamsError where it does not take it."""
    image = torch.zeros(1, int(net.about["channels"]), *size, device=net.mean.device)
    training = net.training
    try:
        out = net.eval().hidden(net.body(image))
    except (AssertionError, RuntimeError) as error:  # RuntimeError: shapes that do not fit, deep within
        raise _not_taken(net, image, error) from error
    finally:
        net.train(training)
    if out.shape != (1, net.dim):
        raise ParamsError(
            f"pretrain.backbones.{net.about['name']}: expected a network with one vector of {net.dim} for an image, "
            f"got an output of shape {tuple(out.shape)}"
        )


def _refuse_pixel(_: nn.Module, inputs: tuple[Tensor]) -> None:
    """In bfloat16 on a CPU torch 2.13 leaves the gradient of such a convolution unset: it is whatever memory held."""
    (x,) = inputs
    if x.shape[2:].numel() == 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        raise ParamsError(
            "machine.precision: expected fp32 for images, or parts of them, that shrink to one pixel before a strided "
            "convolution, got bf16 on a CPU"
        )


def _not_taken(net: Backbone, images: Float[Tensor, "b c h w"], error: Exception) -> ParamsError:
    size = " x ".join(str(side) for side in images.shape[2:])
    return ParamsError(
        f"pretrain.backbones.{net.about['name']}: expected a network for images of {size} and {images.shape[1]} "
        f"channels, got: {first_line(error)}"
    )
