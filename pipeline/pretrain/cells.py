"""Crops of the cells of a grid, for methods that see an image in pieces: PIRL, jigsaw, context."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.pretrain.boxes import crops

LEAST_CELL = 4  # pixels on a side


def require_cells(images: Float[Tensor, "b c h w"], grid: int, name: str) -> None:
    """Raises ParamsError, naming the parameter, where a grid's cells have fewer than 4 pixels on a side."""
    h, w = images.shape[2:]
    if min(h, w) < LEAST_CELL * grid:
        raise ParamsError(
            f"{name}: expected at most {min(h, w) // LEAST_CELL} in images of {h} x {w}, for cells of {LEAST_CELL} "
            f"pixels, got {grid}"
        )


def crops_of_cells(
    images: Float[Tensor, "b c h w"],
    order: Int64[Tensor, "b p"],
    across: Float[Tensor, "b p"],
    down: Float[Tensor, "b p"],
    share: float,
) -> Float[Tensor, "b p c s t"]:
    """Piece j of an image is a crop of its cell order[j]; the p cells, a square number, are counted row by row.

    A crop has `share` of its cell's sides, and `across` and `down` in [0, 1] place it in what is free of the cell. All
    come out at one size, that of a crop rounded to whole pixels; where it was whole, and the place too, the pixels are
    the image's own. The parameters may lie on the CPU, wherever the images are.
    """
    grid = math.isqrt(order.shape[1])
    size = [max(1, round(side / grid * share)) for side in images.shape[2:]]
    left = (order % grid + across * (1 - share)) / grid  # in shares of the image
    top = (order // grid + down * (1 - share)) / grid
    side = torch.full_like(left, share / grid)
    return crops(images, torch.stack([left, top, side, side], -1), (size[0], size[1]))
