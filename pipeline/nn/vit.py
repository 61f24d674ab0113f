"""Vision transformers (Dosovitskiy et al. 2021; tiny and small as in DeiT, Touvron et al. 2021), from torchvision."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field, field_validator
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.architecture import Architecture


class Transformer(nn.Module):
    """The parts of a torchvision VisionTransformer under its own names, less the heads; images may have other sizes."""

    def __init__(self, net: Any, name: str) -> None:
        super().__init__()
        self.name, self.patch = name, net.patch_size
        self.side = net.image_size // net.patch_size  # patches in a row of the images that positions are made for
        self.class_token, self.conv_proj, self.encoder = net.class_token, net.conv_proj, net.encoder

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The class token after the last norm. Raises ParamsError for sides that patches do not divide."""
        return self.tokens(x)[:, 0]

    def tokens(
        self,
        x: Float[Tensor, "b c h w"],
        *,
        keep: Int64[Tensor, "b k"] | None = None,
        masked: Bool[Tensor, "b n"] | None = None,
        mask_token: Float[Tensor, " d"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """The class token, then those of the patches row by row, after the last norm.

        With `keep` there are only the patches of these numbers, in that order; where `masked`, `mask_token` stands in a
        patch's place. Both before the first layer; positions are those of the patches. Raises as `forward` does.
        """
        h, w = x.shape[2:]
        if h % self.patch or w % self.patch:
            raise ParamsError(
                f"pretrain.backbones.{self.name}.patch_size: expected a divisor of the sides of all images and crops, "
                f"got {self.patch} for {h} x {w}"
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        if masked is not None and mask_token is not None:
            patches = torch.where(masked[..., None], mask_token.to(patches.dtype), patches)
        positions = self.positions(h // self.patch, w // self.patch)
        first, patches = self.class_token + positions[:, :1], patches + positions[:, 1:]
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
        tokens = torch.cat([first.expand(len(x), -1, -1), patches], dim=1)
        return self.encoder.ln(self.encoder.layers(self.encoder.dropout(tokens)))

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 tokens d"]:
        """Position embeddings, the class token's first, the others interpolated where the grid is of another size."""
        embedding: Tensor = self.encoder.pos_embedding
        if (rows, columns) == (self.side, self.side):
            return embedding
        grid = embedding[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        # Smoothed where the grid shrinks (as for small crops), as timm does it; DINO does not.
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
        return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


class VisionTransformer(Architecture):
    """Layers whose hidden layers are four times as wide as they; the class token is the feature."""

    name: ClassVar[str]
    dim: ClassVar[int]
    heads: ClassVar[int]
    depth: ClassVar[int] = 12
    patch_size: int = Field(ge=1)  # pixels; it must divide the sides of all images and crops
    image_size: int = Field(ge=1)  # pixels, a multiple of patch_size; positions are interpolated at other sizes

    @field_validator("image_size")
    @classmethod
    def _whole_patches(cls, value: int, info: Any) -> int:
        patch = info.data.get("patch_size", 1)
        if value % patch:
            raise ValueError(f"a multiple of patch_size ({patch})")
        return value

    def build(self, channels: int) -> tuple[nn.Module, int]:
        size, patch = self.image_size, self.patch_size
        net = torchvision().models.VisionTransformer(size, patch, self.depth, self.heads, self.dim, 4 * self.dim)
        if channels != net.conv_proj.in_channels:
            net.conv_proj = nn.Conv2d(channels, self.dim, patch, patch)
            nn.init.trunc_normal_(net.conv_proj.weight, std=1 / math.sqrt(channels * patch**2))  # as torchvision has it
            nn.init.zeros_(net.conv_proj.bias)
        return Transformer(net, self.name), self.dim


class ViTTiny(VisionTransformer):
    """ViT-Ti: 5.5 million parameters, dim 192."""

    name, dim, heads = "vit_tiny", 192, 3


class ViTSmall(VisionTransformer):
    """ViT-S: 22 million parameters, dim 384."""

    name, dim, heads = "vit_small", 384, 6


class ViTBase(VisionTransformer):
    """ViT-B: 86 million parameters, dim 768."""

    name, dim, heads = "vit_base", 768, 12
