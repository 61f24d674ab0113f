"""MAE: a vision transformer sees a few patches of an image, and a small decoder must paint the others.

He et al. 2022, "Masked autoencoders are scalable vision learners". It is made for fine-tuning: after 100 epochs on
ImageNet a ViT-B has a linear 46.0 % and 11.2 % by nearest neighbours (lightly's benchmark).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std, in_float32
from pipeline.nn.vit import VisionTransformer
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.masked import hidden_error, patches_of, require_patches
from pipeline.pretrain.method import MethodParams, SelfSupervised

EPS = 1e-6  # beside a patch's variance
LONGEST = 10_000.0  # of a position's waves, in patches, over 2 pi
HALVES = 4  # sine and cosine of row and column


class MaeParams(MethodParams):
    """The block `pretrain.mae`."""

    dropped: float = Field(gt=0, lt=1)  # share of the patches that the backbone does not see
    decoder_dim: int = Field(ge=4)  # a multiple of 4 and of decoder_heads
    decoder_depth: int = Field(ge=1)
    decoder_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _divisible(self) -> "MaeParams":
        if self.decoder_dim % HALVES or self.decoder_dim % self.decoder_heads:
            raise ValueError(f"decoder_dim, a multiple of {HALVES} and of decoder_heads")
        return self


@in_float32
def mae_loss(
    painted: Float[Tensor, "b n r"], patches: Float[Tensor, "b n r"], hidden: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Squared difference to each patch's values less their mean, over their deviation; mean over the hidden patches.

    The variance is over r - 1. A painting of zeros has (r - 1) / r where no patch is flat. No gradient reaches the
    patches.
    """
    var, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return hidden_error(painted, (patches - mean) / (var + EPS).sqrt(), hidden)


def waves(rows: int, columns: int, dim: int) -> Float[Tensor, "n dim"]:
    """Sines and cosines of each patch's column, then of its row, row by row: a position that is not learnt."""
    rate = LONGEST ** -(torch.arange(dim // HALVES) / (dim // HALVES))
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.reshape(-1, 1) * rate for place in (across, down)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


class Mae(SelfSupervised[MaeParams]):
    """The method around `mae_loss`: one view of each image, of which each drops patches of its own.

    The decoder sees the class token, what the backbone made of the kept patches, and a learnt token in place of each
    other one, all with their positions. Departure: the backbone's own positions are learnt, torchvision's; the paper's
    are waves, as the decoder's are here.
    """

    Params = MaeParams
    num_views = 1
    architecture = VisionTransformer
    by_adamw = True
    head_at = ""

    def __init__(self, backbone: Backbone, params: MaeParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone, dim = backbone, params.decoder_dim
        self.side = backbone.transformer().patch
        self.embed = nn.Linear(backbone.dim, dim)
        self.mask_token = nn.Parameter(0.02 * torch.randn(dim, generator=chance))
        blocks = [
            nn.TransformerEncoderLayer(
                dim, params.decoder_heads, 4 * dim, 0.0, F.gelu, batch_first=True, norm_first=True
            )
            for _ in range(params.decoder_depth)
        ]
        pixels = self.side**2 * int(backbone.about["channels"])
        self.decoder = nn.Sequential(*blocks, nn.LayerNorm(dim), nn.Linear(dim, pixels))

    def loss(self, views: Views) -> Step:
        """Raises ParamsError for sides that patches do not divide, or of one patch."""
        x = self.backbone.normalised(views.first)
        b, rows, columns = len(x), x.shape[2] // self.side, x.shape[3] // self.side
        require_patches(rows * columns, str(self.backbone.about["name"]))
        keep = self.kept(b, rows * columns).to(x.device, non_blocking=True)
        tokens = self.backbone.transformer().tokens(x, keep=keep)
        small = self.embed(tokens)
        places = keep[..., None].expand(-1, -1, small.shape[2])
        full = self.mask_token.to(small.dtype).expand(b, rows * columns, -1).scatter(1, places, small[:, 1:])
        full = full + waves(rows, columns, small.shape[2]).to(x.device, small.dtype, non_blocking=True)
        painted = self.decoder(torch.cat([small[:, :1], full], dim=1))[:, 1:]
        hidden = torch.ones(b, rows * columns, dtype=torch.bool, device=x.device).scatter(1, keep, False)
        return Step(mae_loss(painted, patches_of(x, self.side), hidden), {"feature_std": feature_std(tokens[:, 0])})

    def kept(self, count: int, patches: int) -> Int64[Tensor, "b k"]:
        """The numbers of the patches that are kept, one or more of each image and not all; by torch's global chance."""
        total, part = dist.global_batch(count)
        order = torch.rand(total, patches)[part].argsort(dim=1)
        return order[:, : min(max(1, round(patches * (1 - self.params.dropped))), patches - 1)]
