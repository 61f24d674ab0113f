"""Residual networks: a small one for CPUs, torchvision's, and wide ones.

ResNet: He et al. 2016. Wide ResNet: Zagoruyko and Komodakis 2016, here with plain ReLU where USB has leaky ReLU.
Departure: the last norm of a residual block begins at 1, as torchvision's does; in the code of SimCLR and BYOL at 0.
"""

from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.torchvision_import import torchvision
from pipeline.nn.architecture import Architecture


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
        out = torch.relu_(self.bn1(self.conv1(x)))  # in place: no gradient needs what batch norm gives
        return torch.relu_(self.bn2(self.conv2(out)).add_(self.shortcut(x)))


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
        active = torch.relu_(self.bn1(x))  # in place: no gradient needs what batch norm gives
        out = self.conv2(torch.relu_(self.bn2(self.conv1(active))))
        return out.add_(x if self.shortcut is None else self.shortcut(active))


class SmallResNet(Architecture):
    """Three basic blocks behind one 3x3 convolution, for small images on a CPU: 307,000 parameters at width 32."""

    width: int = Field(ge=16)  # below 10, torch's 1x1 convolutions of stride 2 were seen to corrupt memory on a CPU
    stem_stride: Literal[1, 2]

    def build(self, channels: int) -> tuple[nn.Module, int]:
        w = self.width
        stem = nn.Conv2d(channels, w, 3, self.stem_stride, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(inplace=True)
        blocks = BasicBlock(w, w, 1), BasicBlock(w, 2 * w, 2), BasicBlock(2 * w, 4 * w, 2)
        return _initialised(nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())), 4 * w

    def stages(self, body: nn.Module) -> dict[str, int]:
        return _stages(body)


class WideResNet(Architecture):
    """WRN-depth-times: three groups of (depth - 4) / 6 blocks, `times` as wide as a CIFAR ResNet's."""

    depth: ClassVar[int]
    times: ClassVar[int]

    def build(self, channels: int) -> tuple[nn.Module, int]:
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
        widths = (16, 16 * self.times, 32 * self.times, 64 * self.times)
        for group, (c_in, c_out) in enumerate(pairwise(widths)):
            layers.append(PreactBlock(c_in, c_out, 1 if group == 0 else 2))
            layers += [PreactBlock(c_out, c_out, 1) for _ in range((self.depth - 4) // 6 - 1)]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return _initialised(nn.Sequential(*layers)), widths[-1]

    def stages(self, body: nn.Module) -> dict[str, int]:
        return _stages(body)


class WideResNet10x1(WideResNet):
    """WRN-10-1, one block a group: 77,000 parameters, dim 64."""

    depth, times = 10, 1


class WideResNet28x2(WideResNet):
    """WRN-28-2, the network of the semi-supervised literature on CIFAR: 1.5 million parameters, dim 128."""

    depth, times = 28, 2


class WideResNet28x8(WideResNet):
    """WRN-28-8, the semi-supervised literature's for CIFAR-100: 23 million parameters, dim 512."""

    depth, times = 28, 8


class WideResNet28x10(WideResNet):
    """WRN-28-10: 36 million parameters, dim 640."""

    depth, times = 28, 10


class TorchvisionResNet(Architecture):
    """torchvision's; `small_stem`: one 3x3 convolution of stride 1, no pooling, for small images."""

    arch: ClassVar[str]
    small_stem: bool

    def build(self, channels: int) -> tuple[nn.Module, int]:
        # The parameters keep torchvision's names, so that its weights fit.
        net = getattr(torchvision().models, self.arch)(weights=None)
        width = net.conv1.out_channels
        if self.small_stem:
            net.conv1, net.maxpool = nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.Identity()
        elif channels != net.conv1.in_channels:
            net.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        dim = net.fc.in_features
        net.fc = nn.Identity()
        return _initialised(net), dim

    def stages(self, body: Any) -> dict[str, int]:
        width = 64 * body.layer1[0].expansion
        return {"layer1": width, "layer2": 2 * width, "layer3": 4 * width}


class ResNet18(TorchvisionResNet):
    """ResNet-18: 11 million parameters, dim 512."""

    arch = "resnet18"


class ResNet34(TorchvisionResNet):
    """ResNet-34: 21 million parameters, dim 512."""

    arch = "resnet34"


class ResNet50(TorchvisionResNet):
    """ResNet-50: 24 million parameters, dim 2048."""

    arch = "resnet50"


class ResNet101(TorchvisionResNet):
    """ResNet-101: 43 million parameters, dim 2048."""

    arch = "resnet101"


def _stages(body: nn.Module) -> dict[str, int]:
    """The last block of each width in a sequence, but the widest's: what comes after it is the feature."""
    last = {m.conv2.out_channels: name for name, m in body.named_children() if isinstance(m, BasicBlock | PreactBlock)}
    return {name: width for width, name in sorted(last.items())[:-1]}


def _initialised(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
