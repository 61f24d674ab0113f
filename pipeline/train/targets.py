"""The few labels as rows of the training images and numbers of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """Row `rows[i]` of the images has the class number `labels[i, l]` at level l, finest first; -1: no label."""

    names: Mapping[str, Sequence[str]]  # the classes of each level that has a label
    rows: Int64[Tensor, " m"]
    labels: Int64[Tensor, "m l"]

    @property
    def classes(self) -> Sequence[str]:
        """The finest classes."""
        return self.names["label"]

    @property
    def labelled_classes(self) -> Int64[Tensor, " r"]:
        """The numbers of the finest classes that have a label, in order."""
        return self.labels[self.labels[:, 0] >= 0, 0].unique()

    @property
    def unlabelled_classes(self) -> list[str]:
        """The names of the finest classes that have no label."""
        labelled = set(self.labelled_classes.tolist())
        return [name for i, name in enumerate(self.classes) if i not in labelled]

    def finest(self) -> "Targets":
        """The finest level alone, without the images that have a coarse label only."""
        labelled = self.labels[:, 0] >= 0
        return Targets({"label": self.classes}, self.rows[labelled], self.labels[labelled, :1])
