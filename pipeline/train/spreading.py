"""Labels spread once, before the first step, from files alone: what the graph says of every training image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.neighbours import Neighbours
from pipeline.graph.affinity import Affinity
from pipeline.graph.estimate import tempered
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import PropagateParams, Propagation, propagate
from pipeline.graph.spread import TOP
from pipeline.parallel import dist
from pipeline.train.graph_targets import GraphTargets
from pipeline.train.inputs import Inputs
from pipeline.train.targets import Targets
from pipeline.vectors.rows import blocks


@dataclass(frozen=True)
class Spreading:
    """The vectors and nearest neighbours of the training images, and how labels spread there: `train.propagate`."""

    x: Float32[ndarray, "n d"]
    neighbours: Neighbours
    params: PropagateParams
    shares: Float[ndarray, " k"] | None  # of the classes, where a CSV has them
    confirmed: Int64[ndarray, " c"]  # rows of the images whose labels were confirmed many at once
    files: list[Path]  # what was read

    @classmethod
    def read(cls, block: PropagateParams, given: Inputs, embed: Path, graph: Path) -> "Spreading":
        """Reads what embed and graph wrote. Raises ArtifactError where that is not of these training images."""
        train = Embeddings.of(embed / "train", given.index.key)
        neighbours = Neighbours.read(graph, len(train.keys))
        shares = read_shares(block.prior, given.targets.classes)
        files = [embed / "train/vectors.npy", graph / "rows.npy", graph / "sq_dist.npy"]
        files += [] if shares is None else [Path(block.prior)]
        confirmed = np.array([row for row, key in enumerate(train.keys) if key in given.confirmed], np.int64)
        return cls(train.vectors, neighbours, block, shares, confirmed, files)

    def spread(self, targets: Targets, device: torch.device) -> Propagation:
        """The labels of the finest level, carried to all images."""
        targets, affinity = targets.finest(), Affinity.of(self.neighbours, device)
        rows, labels = targets.rows.numpy(), targets.labels[:, 0].numpy()
        asked = ~np.isin(rows, self.confirmed)
        return propagate(self.x, affinity, rows, labels, len(targets.classes), self.params, self.shares, asked)

    def targets(self, targets: Targets, device: torch.device) -> "GraphTargets":
        """The same as soft targets, on the device. Of several processes the first spreads, and all get its result."""
        num_classes = len(targets.classes)
        found = GraphTargets(len(self.x), num_classes, min(TOP, num_classes))
        if dist.rank() == 0:
            _fill(found, self.spread(targets, device), self.x)
        found.to(device)
        dist.as_first(found)
        return found


def _fill(found: GraphTargets, result: Propagation, x: Float32[ndarray, "n d"]) -> None:
    """Takes over the mixture of spreading and probe, at its temperature."""
    for rows in blocks(len(x), found.num_classes):
        p = tempered(result.mixture(x, rows), result.temperature)
        amounts, found.classes[rows] = torch.from_numpy(p).topk(found.classes.shape[1], dim=1)
        reached = torch.from_numpy(result.reached[rows, None])
        found.amounts[rows] = (reached * amounts / amounts.sum(dim=1, keepdim=True)).float()
