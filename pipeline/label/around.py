"""What a person sees beside the picks: the graph's guesses, and the images that lie around each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.shards import Index
from pipeline.graph.propagation import PropagateParams
from pipeline.label.guess import Guesses, guess
from pipeline.label.surroundings import alike, beside
from pipeline.nn.device import Device


@dataclass(frozen=True)
class Around:
    """Of the picks, in their order: `beside`, the images nearest to each, and `alike`, the picks most like it.

    `known` are the labels of other images that may be shown.
    """

    guesses: Guesses = field(default_factory=Guesses)
    beside: Sequence[Sequence[str]] = ()
    alike: Sequence[Sequence[tuple[int, float]]] = ()
    known: Mapping[str, str] = field(default_factory=dict)


def around(
    embed: Path,
    graph: Path,
    params: PropagateParams,
    index: Index,
    picks: Sequence[str],
    labels: Labels,
    never: Collection[str],
) -> Around:
    """What is known of the picks by these labels, in the graph of the stages `embed` and `graph`.

    Images `never` guessed have no label among them. Raises ArtifactError where the folders are not of these images.
    """
    train = Embeddings.of(embed / "train", index.key)
    neighbours = Neighbours.read(graph, len(train.keys))
    device = Device.choose("fp32").device
    rows = index.rows_of(picks, "picks.csv")
    return Around(
        guess(train.vectors, neighbours, train.keys, labels, picks, never, params, device),
        [[train.keys[row] for row in nearest] for nearest in beside(neighbours, rows)],
        alike(train.vectors[rows]),
        {key: names[0] for key, names in labels.rows.items() if names[0]},
    )
