"""Rounds of labels side by side: what was measured with the labels of each round and all before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.rounds import METRICS, round_files
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json
from pipeline.evaluate.headline import Figure
from pipeline.evaluate.metrics import finest

NOW = "now"


@dataclass(frozen=True)
class Round:
    """How many images had a class by then, and what was measured; None where no metrics were kept."""

    name: str
    labels: int
    figure: Figure | None


def compared(folder: Path, label: Mapping[str, str], metrics: Mapping[str, float]) -> list[Round]:
    """The finished rounds and, where `label` has more than they hold, this one; none before one is finished."""
    rounds: list[Round] = []
    kept: set[str] = set()
    for file in round_files(folder):
        kept |= {*finest(Labels.read(file))}
        rounds.append(Round(f"round {int(file.parent.name)}", len(kept), _figure(file.with_name(METRICS))))
    if rounds and {*label} - kept:
        rounds.append(Round(NOW, len(label), Figure.of(metrics)))
    return rounds


def _figure(file: Path) -> Figure | None:
    if not file.is_file():
        return None
    try:
        return Figure.of(read_json(file))
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{file}: expected the metrics of a round, as keep_round copies them, got {error}"
        ) from error
