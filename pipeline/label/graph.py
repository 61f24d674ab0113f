"""What the graph of all images says of the picks, and the last round's model of images that are of no class."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import OUTPUTS, new_classes
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.shards import Index
from pipeline.base.params import Params
from pipeline.graph.propagation import PropagateParams
from pipeline.label.around import Around
from pipeline.label.guess import guess
from pipeline.label.surroundings import beside, like
from pipeline.nn.device import Device


@dataclass(frozen=True)
class Graph:
    """The folders of the stages `embed` and `graph` and of finished rounds, and how labels spread there."""

    embed: Path
    graph: Path
    rounds: Path
    params: PropagateParams

    @classmethod
    def of(cls, params: Params, embed: Path, graph: Path, rounds: Path) -> "Graph":
        return cls(embed, graph, rounds, params.block("train.propagate", PropagateParams))

    def around(
        self,
        index: Index,
        picks: Sequence[str],
        labels: Labels,
        never: Collection[str],
        confirmed: Collection[str],
    ) -> Around:
        """Raises ArtifactError where the folders are not of these training images."""
        train = Embeddings.of(self.embed / "train", index.key)
        neighbours = Neighbours.read(self.graph, len(train.keys))
        device, new = Device.choose("fp32").device, new_classes(self.rounds / OUTPUTS)
        rows = index.rows_of(picks, "picks.csv")
        return Around(
            guess(train.vectors, neighbours, train.keys, labels, picks, never, confirmed, new, self.params, device),
            [[train.keys[row] for row in nearest] for nearest in beside(neighbours, rows)],
            like(train.vectors[rows]),
            {key: names[0] for key, names in labels.rows.items() if names[0]},
        )
