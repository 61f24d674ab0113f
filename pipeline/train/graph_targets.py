"""What the graph says of training images, as soft targets that a method mixes with its own guess."""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn


class GraphTargets(nn.Module):
    """Of each training image its most probable classes, `kept` of them, and how probable they are; zeros at first.

    Rows sum to 1, or to 0 where no label reaches: the graph has nothing to say of these images.
    """

    classes: Tensor
    amounts: Tensor

    def __init__(self, num_images: int, num_classes: int, kept: int) -> None:
        super().__init__()
        self.num_classes, shape = num_classes, (num_images, kept)
        self.register_buffer("classes", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("amounts", torch.zeros(shape))

    def forward(self, rows: Int64[Tensor, " u"]) -> Float32[Tensor, "u k"]:
        """The targets of some images, a column for each class."""
        amounts = self.amounts[rows]
        return amounts.new_zeros(len(rows), self.num_classes).scatter_(1, self.classes[rows], amounts)

    def mixed(
        self,
        own: Float[Tensor, "u k"],
        rows: Int64[Tensor, " u"],
        share: float,
        classes: Int64[Tensor, " k"] | None = None,
    ) -> Float[Tensor, "u k"]:
        """(1 - share) own + share of the targets: `own` has a column for each class, or for each of `classes`.

        What an image's target lacks of 1, as it is of other classes or of none, its own guess fills.
        """
        target = self(rows).to(own.dtype)
        target = target if classes is None else target[:, classes]
        return (1 - share * target.sum(dim=1, keepdim=True)) * own + share * target
