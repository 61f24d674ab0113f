"""Boxes that may hold one object of several in an image, and what they show.

A box is its left, its top, its width and its height, in shares of the image's sides.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

MOST_RATIO = 3.0  # of the longer side to the shorter; this and the next: the code of Xie et al. 2021
MOST_IOU = 0.5  # of two boxes
CANDIDATES = 50  # drawn for each box that is wanted
TRIES = 200  # at a moved box; this and the next two: the code of Xie et al. 2021
LEAST_IOU = 0.5  # of a moved box with the box itself
MOVED_AREA, MOVED_RATIO = (0.5, 2.0), 2.0  # of the area, least and most; of the sides, at most either way


def iou(a: Float[Tensor, "*n 4"], b: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """The area that two boxes share, over that of both together."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared)


def random_boxes(count: int, least_side: float, chance: Generator) -> Float[Tensor, "m 4"]:
    """Up to `count` boxes of sides from `least_side` to 1, at most 3 : 1, which share at most half with each other.

    Fewer where 50 draws for each box do not bring as many.
    """
    drawn = torch.rand(CANDIDATES * count, 4, generator=chance)
    sides = least_side + (1 - least_side) * drawn[:, :2]
    candidates = torch.cat([drawn[:, 2:] * (1 - sides), sides], dim=1)
    candidates = candidates[sides.amax(dim=1) <= MOST_RATIO * sides.amin(dim=1)]
    kept = candidates[:1]
    for box in candidates[1:]:
        if len(kept) == count:
            break
        if bool((iou(kept, box.expand_as(kept)) <= MOST_IOU).all()):
            kept = torch.cat([kept, box[None]])
    return kept


def moved(boxes: Float[Tensor, "b 4"], drawn: Float[Tensor, "b t 4"]) -> Float[Tensor, "b 4"]:
    """Of t tries at a box elsewhere the first that lies in the image and shares enough with the box, or the box itself.

    `drawn`, in [0, 1), places the new centre within the box, and gives its area and the ratio of its sides.
    """
    centre = boxes[:, None, :2] + boxes[:, None, 2:] * drawn[..., :2]
    least, most = MOVED_AREA
    area = boxes[:, None, 2:].prod(-1) * (least + (most - least) * drawn[..., 2])
    ratio = ((2 * drawn[..., 3] - 1) * math.log(MOVED_RATIO)).exp()
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1)
    tries = torch.cat([centre - sides / 2, sides], -1)
    inside = (tries[..., :2] >= 0).all(-1) & (tries[..., :2] + sides <= 1).all(-1)
    fits = inside & (iou(tries, boxes[:, None].expand_as(tries)) > LEAST_IOU)
    first = tries.gather(1, fits.long().argmax(dim=1)[:, None, None].expand(-1, 1, 4))[:, 0]
    return torch.where(fits.any(dim=1)[:, None], first, boxes)


def crops(
    images: Float[Tensor, "b c h w"],
    boxes: Float[Tensor, "b p 4"],
    size: tuple[int, int],
    flipped: Bool[Tensor, "b p"] | None = None,
) -> Float[Tensor, "b p c s t"]:
    """What p boxes of each image show, all at one size, with left and right exchanged where `flipped`.

    Where a box is as large as the size, and lies on whole pixels, they are the image's own. The boxes may lie on the
    CPU, wherever the images are.
    """
    b, p = boxes.shape[:2]
    left, top, wide, high = boxes.unbind(-1)
    zero, across = torch.zeros_like(left), wide if flipped is None else torch.where(flipped, -wide, wide)
    rows = [across, zero, 2 * left + wide - 1, zero, high, 2 * top + high - 1]
    matrix = torch.stack(rows, -1).reshape(-1, 2, 3).to(images)
    places = F.affine_grid(matrix, [b * p, 1, *size], align_corners=False).reshape(b, p * size[0], size[1], 2)
    # The pieces of an image below one another: one picture to sample, and no copy of the image for each.
    out = F.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out.unflatten(2, (p, size[0])).movedim(2, 1)
