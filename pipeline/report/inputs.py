"""The files of a run that the page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from pipeline.artifacts.curve import read_rows
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.model_outputs import OUTPUTS, PREDICTED
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions, PseudoLabels
from pipeline.artifacts.settings import read_records, settings
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import read_missing
from pipeline.base.files import number, read_csv, read_json
from pipeline.evaluate.metrics import finest
from pipeline.report.changes import Changes
from pipeline.report.rounds import NOW, Round, compared
from pipeline.report.since import Since
from pipeline.report.times import Time, read_times

Curve = Mapping[str, Float[ndarray, " s"]]


@dataclass(frozen=True)
class Run:
    """The artifacts of one run; `about` holds the records that pretrain, select and train wrote."""

    manifest: Manifest
    index: Index
    sources: Sources
    classes: Sequence[str]  # of the finest level, in the order of classes.json, then those that only labels name
    picks: Selection
    labels: Labels
    audit: Labels  # of random training images, asked for to measure and never trained on
    predictions: Predictions  # of the test images
    metrics: Mapping[str, float | int]
    draws: Sequence[float]  # top-1 of the linear probe on each random draw
    curves: Mapping[str, Curve]
    about: Mapping[str, Mapping[str, Any]]
    pseudo_labels: PseudoLabels | None  # None: the folder of the model has none
    class_shares: Mapping[str, tuple[float, float]]  # of the training images, as propagation assumed and found them
    rounds: Sequence[Round]  # none before one is finished
    changes: Changes | None  # since the last of these; None where it has kept no predictions, or no label is new
    since: Since | None  # what else is not as it was in the last of the rounds
    missing: Mapping[str, str]  # why picks have no label
    times: Sequence[Time]

    @classmethod
    def read(cls, data: Path) -> "Run":
        """Reads what lies below `data`; raises ArtifactError for what is missing, curves aside."""
        labels, audit = Labels.read(data / "label/labels.csv"), Labels.read(data / "label/audit.csv")
        predictions = Predictions.read(data / "evaluate/predictions.csv")
        classes = Classes.read(data / "ingest/classes.json")
        others = {names[0] for table in (labels, audit) for names in table.rows.values()}
        others |= {*predictions.answers, *predictions.predictions}
        curves = {stage: data / stage / "curve.csv" for stage in ("pretrain", "train")}
        draws = data / "evaluate/draws.csv"
        file, shares = data / "train/pseudo_labels.csv", data / "evaluate/class_shares.csv"
        guessed = PseudoLabels.read(file) if file.is_file() else None
        kept = data / "rounds" / OUTPUTS / PREDICTED
        metrics = read_json(data / "evaluate/metrics.json")
        rounds = compared(data / "rounds", finest(labels), metrics)
        is_new = bool(rounds) and rounds[-1].name == NOW and kept.is_file()
        records = read_records(data / "pretrain", data / "select", data / "train")
        return cls(
            manifest=Manifest.read(data / "ingest/manifest.json"),
            index=Index.read(data / "ingest/index.parquet"),
            sources=Sources.read(data / "ingest/sources.csv"),
            classes=classes.union("label", others),
            picks=Selection.read(data / "select/picks.csv"),
            labels=labels,
            audit=audit,
            predictions=predictions,
            metrics=metrics,
            draws=[number(draws, row[1]) for row in read_csv(draws, ("draw", "top1"))[1]],
            curves={stage: read_rows(file) for stage, file in curves.items() if file.is_file()},
            about=records,
            pseudo_labels=guessed,
            class_shares={
                row[0]: (number(shares, row[1]), number(shares, row[2]))
                for row in read_csv(shares, ("label", "assumed", "found"))[1]
            },
            rounds=rounds,
            changes=Changes.between(PseudoLabels.read(kept), guessed) if guessed and is_new else None,
            since=Since.find(
                data / "rounds", rounds, len(finest(labels)), settings(records), predictions, finest(audit), guessed
            ),
            missing=read_missing(data / "label/missing.csv"),
            times=read_times(data / "logs"),
        )

    @cached_property
    def labelled_picks(self) -> int:
        """How many of the last picks have a label at the finest level."""
        return len({*self.picks.keys} & {*finest(self.labels)})

    @cached_property
    def guesses(self) -> Predictions:
        """What the page shows: the predictions of the test images; where there are none, the pseudo-labels.

        The answers of these are what an audit has found.
        """
        if self.predictions.keys or not self.pseudo_labels:
            return self.predictions
        found = self.pseudo_labels
        return Predictions(found.keys, [self.audit.rows.get(key, [""])[0] for key in found.keys], found.ranking)
