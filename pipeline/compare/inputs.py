"""What of a run is compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.labels import Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions, PseudoLabels
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json
from pipeline.evaluate.headline import Figure
from pipeline.evaluate.metrics import finest
from pipeline.report.rounds import Round, compared

METRICS = "data/evaluate/metrics.json"
FILES = (  # below a run's folder
    *(METRICS, "data/evaluate/predictions.csv", "data/select/picks.csv", "data/select/record.json"),
    *("data/label/labels.csv", "data/label/audit.csv", "data/train/model.json", "data/train/pseudo_labels.csv"),
    *("data/ingest/sources.csv", "data/ingest/manifest.json", "data/ingest/index.parquet"),
)
ROUNDS = "data/rounds"


@dataclass(frozen=True)
class Judged:
    """Images whose class is known and was not trained on, with what the run predicts; keys are sorted."""

    answer: Mapping[str, str]
    prediction: Mapping[str, str]
    picture: Mapping[str, str]  # digests, of those images that have one


@dataclass(frozen=True)
class Run:
    """The files of one run; `judged` are the images of its test and of its audit, where it has any."""

    name: str
    folder: Path  # where FILES lie
    home: Path  # from where the paths of its shards lead
    metrics: Mapping[str, float]
    figure: Figure
    judged: Mapping[str, Judged]
    picks: Sequence[str]
    label: Mapping[str, str]  # the class of each labelled image
    path: Mapping[str, str]
    rounds: Sequence[Round]  # the last one is the run itself
    methods: Mapping[str, str]
    network: str  # what the images were seen by, and at which size
    guess: Mapping[str, str]  # the class that it gives to each training image without a label

    @classmethod
    def read(cls, name: str, folder: Path, home: Path) -> "Run":
        """Reads a run's files below `folder`. Raises ArtifactError where they are of no finished run."""
        if not (folder / METRICS).is_file():
            raise ArtifactError(f"{folder}: expected a finished run, found no {METRICS} in it")
        metrics = read_json(folder / METRICS)
        try:
            figure = Figure.of(metrics)
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / METRICS}: expected metrics of this version, got none of {error}") from error
        data = folder / "data"
        sources, label = Sources.read(data / "ingest/sources.csv"), finest(Labels.read(data / "label/labels.csv"))
        test = Predictions.read(data / "evaluate/predictions.csv")
        tables = {"test": (dict(zip(test.keys, test.answers, strict=True)), test.keys, test.predictions)}
        guessed, audit = data / "train/pseudo_labels.csv", data / "label/audit.csv"
        guess: dict[str, str] = {}
        if guessed.is_file():
            pseudo = PseudoLabels.read(guessed)
            guess = dict(zip(pseudo.keys, pseudo.ranking.best, strict=True))
            if audit.is_file():  # a run of an earlier version has no audit
                tables["audit"] = finest(Labels.read(audit)), pseudo.keys, pseudo.ranking.best
        model = read_json(data / "train/model.json")
        return cls(
            name=name,
            folder=folder,
            home=home,
            metrics=metrics,
            figure=figure,
            judged={kind: found for kind, table in tables.items() if (found := _judged(*table, sources)).answer},
            picks=Selection.read(data / "select/picks.csv").keys,
            label=label,
            path=sources.path,
            rounds=compared(folder / ROUNDS, label, metrics) or [Round("now", len(label), figure)],
            methods={
                "select": _method(read_json(data / "select/record.json")),
                "train": _method(model),
            },
            network=_network(model),
            guess=guess,
        )


def _judged(answers: Mapping[str, str], keys: Sequence[str], predictions: Sequence[str], sources: Sources) -> Judged:
    prediction = dict(zip(keys, predictions, strict=True))
    answer = {key: answers[key] for key in sorted(answers) if answers[key] and key in prediction}
    picture = {key: sources.picture[key] for key in answer if key in sources.picture}
    return Judged(answer, {key: prediction[key] for key in answer}, picture)


def _network(model: Mapping[str, Any]) -> str:
    """The name of a model's network and the size of its images, or nothing where a model has neither."""
    about = model.get("backbone", {})
    about = about.get("backbone", about)  # below the vectors' own, where labels were spread over the graph
    name = about.get("options", {}).get("model", about.get("name"))
    return f"{name}, {' x '.join(map(str, model['size']))}" if name and "size" in model else ""


def _method(record: Mapping[str, Any]) -> str:
    return str(record.get("method", "not recorded"))
