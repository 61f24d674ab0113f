"""Images to features. Each backbone is a params block that builds a network from (b, channels, h, w) to (b, dim).

ResNet: He et al. 2016. Wide ResNet: Zagoruyko and Komodakis 2016, here with plain ReLU where USB has leaky ReLU.
"""

from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor, nn

from pipeline.nn.device import channels_last
from pipeline.nn.vision import torchvision
from pipeline.params import Block


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        changes = stride != 1 or c_in != c_out
        self.shortcut: nn.Module = nn.Identity()
        if changes:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "b c_in h_in w_in"]) -> Float[Tensor, "b c_out h_out w_out"]:
        """The block's output, after the last ReLU."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class PreactBlock(nn.Module):
    """Wide ResNet's block: batch norm and ReLU before each convolution."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if stride != 1 or c_in != c_out else None

    def forward(self, x: Float[Tensor, "b c_in h_in w_in"]) -> Float[Tensor, "b c_out h_out w_out"]:
        """The block's output, before any activation."""
        active = torch.relu(self.bn1(x))
        out = self.conv2(torch.relu(self.bn2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


class SmallResNet(Block):
    """Three basic blocks behind one 3x3 convolution: 307,000 parameters at width 32, made for small images on a CPU."""

    width: int = Field(ge=16)  # below 10, torch's 1x1 convolutions of stride 2 were seen to corrupt memory on a CPU
    stem_stride: Literal[1, 2]

    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network and its feature dimension, 4 * width."""
        w = self.width
        stem = nn.Conv2d(channels, w, 3, self.stem_stride, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU()
        blocks = BasicBlock(w, w, 1), BasicBlock(w, 2 * w, 2), BasicBlock(2 * w, 4 * w, 2)
        return _initialised(nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())), 4 * w


class WideResNet28x2(Block):
    """WRN-28-2, the network of the semi-supervised literature on CIFAR: 1.5 million parameters, dim 128."""

    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network and its feature dimension, 128."""
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
        widths = (16, 32, 64, 128)
        for group, (c_in, c_out) in enumerate(pairwise(widths)):
            layers.append(PreactBlock(c_in, c_out, 1 if group == 0 else 2))
            layers += [PreactBlock(c_out, c_out, 1) for _ in range(3)]
        layers += [nn.BatchNorm2d(128), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return _initialised(nn.Sequential(*layers)), 128


class ResNet18(Block):
    """torchvision's ResNet-18, dim 512; `small_stem`: one 3x3 convolution of stride 1, no pooling, for small images."""

    small_stem: bool

    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network and its feature dimension, 512."""
        return _torchvision_resnet("resnet18", channels, self.small_stem)


class ResNet50(Block):
    """torchvision's ResNet-50, dim 2048; `small_stem` as in ResNet18."""

    small_stem: bool

    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network and its feature dimension, 2048."""
        return _torchvision_resnet("resnet50", channels, self.small_stem)


BACKBONES: dict[str, Any] = {  # a Block with `build(channels) -> (network, dim)`
    "small_resnet": SmallResNet,
    "wide_resnet28_2": WideResNet28x2,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
}


class Backbone(nn.Module):
    """A network that takes images as uint8 or as floats in [0, 1]: its normalisation travels with its weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, options: Block, mean: Float[Tensor, " c"], std: Float[Tensor, " c"]) -> None:
        super().__init__()
        self.about: dict[str, Any] = {"name": name, "options": options.model_dump(), "channels": len(mean)}
        self.body, self.dim = BACKBONES[name].build(options, len(mean))
        self.register_buffer("mean", mean.float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.float().reshape(1, -1, 1, 1))

    def forward(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features before any projection; not unit vectors."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.body(x)


def fresh(name: str, options: Block, pixels: UInt8[Tensor, "n c h w"]) -> Backbone:
    """A backbone with random weights (torch's own chance), normalised by the mean and deviation of these images."""
    counts = torch.stack([torch.bincount(plane.flatten(), minlength=256) for plane in pixels.unbind(1)]).double()
    levels = torch.arange(256, dtype=torch.double) / 255
    share = counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    std = (share * (levels - mean[:, None]).square()).sum(1).sqrt()
    # Images of one colour have no deviation; 1/255 is the smallest step there is.
    return channels_last(Backbone(name, options, mean, std.clamp(min=1 / 255)))


def _torchvision_resnet(arch: str, channels: int, small_stem: bool) -> tuple[nn.Module, int]:
    net = getattr(torchvision().models, arch)(weights=None)
    width = net.conv1.out_channels
    if small_stem:
        net.conv1, net.maxpool = nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.Identity()
    elif channels != net.conv1.in_channels:
        net.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
    dim = net.fc.in_features
    net.fc = nn.Identity()
    return _initialised(net), dim


def _initialised(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
