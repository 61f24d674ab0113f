"""What methods that hide patches from a vision transformer share: MAE and MaskFeat."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import in_float32


def require_patches(count: int, name: str) -> None:
    """Raises ParamsError, naming the backbone, for images of one patch, of which none or all would be hidden."""
    if count < 2:
        raise ParamsError(
            f"pretrain.backbones.{name}.patch_size: expected two patches or more in an image for a method that hides "
            f"some, got {count}"
        )


def patches_of(images: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b n r"]:
    """The values of each patch, row by row; r is c * side * side."""
    return F.unfold(images, side, stride=side).transpose(1, 2)


@in_float32
def hidden_error(
    found: Float[Tensor, "b n r"], targets: Float[Tensor, "b n r"], hidden: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Squared difference, mean over the values of the hidden patches. No gradient reaches the targets."""
    return ((found - targets.detach()).square().mean(dim=2) * hidden).sum() / hidden.sum()
