"""All images of a run as columns: what is known of each, what is predicted, and whether it was picked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from pipeline.artifacts.left_out import SaidWithout
from pipeline.evaluate.metrics import finest
from pipeline.report.inputs import Run

NONE = ""  # no class


@dataclass(frozen=True)
class Images:
    """Every training image, then every test image, each sorted by key; all columns are as long.

    `label` is what the model was trained on, `answer` what it was not: of test images, and of the audit. The prediction
    for an image with a label is what all other labels say of it.
    """

    keys: Sequence[str]
    paths: Sequence[str]
    tested: Bool[ndarray, " n"]  # held out for a test
    label: Sequence[str]
    answer: Sequence[str]
    prediction: Sequence[str]
    confidence: Float[ndarray, " n"]  # 0 where there is no prediction
    before: Sequence[str]  # what the last round predicted, where it was another class
    rank: Int64[ndarray, " n"]  # of the pick, from 1; 0 for all others
    classes: Sequence[str]

    @classmethod
    def of(cls, run: Run, train: Sequence[str], test: Sequence[str], said: SaidWithout) -> "Images":
        """Those of a run, whose splits have these keys."""
        keys = [*train, *test]
        found = dict(zip(said.keys, zip(said.said, said.confidence.tolist(), strict=True), strict=True))
        tables = [(run.predictions.keys, run.predictions.ranking)]
        if run.pseudo_labels:
            tables.append((run.pseudo_labels.keys, run.pseudo_labels.ranking))
        for names, ranking in tables:
            found |= dict(zip(names, zip(ranking.best, ranking.confidence.tolist(), strict=True), strict=True))
        answer = {**dict(zip(run.predictions.keys, run.predictions.answers, strict=True)), **finest(run.audit)}
        label, rank = finest(run.labels), {key: i for i, key in enumerate(run.picks.keys, 1)}
        was = {one.key: one.before for one in run.changes.found} if run.changes else {}
        predicted = [found.get(key, (NONE, 0.0)) for key in keys]
        return cls(
            keys=keys,
            paths=[run.sources.path.get(key, key) for key in keys],
            tested=np.arange(len(keys)) >= len(train),
            label=[label.get(key, NONE) for key in keys],
            answer=[answer.get(key, NONE) for key in keys],
            prediction=[name for name, _ in predicted],
            confidence=np.array([share if name else 0.0 for name, share in predicted]),
            before=[was.get(key, NONE) for key in keys],
            rank=np.array([rank.get(key, 0) for key in keys], np.int64),
            classes=run.classes,
        )

    def take(self, rows: Int64[ndarray, " m"]) -> "Images":
        """Some of them."""
        if len(rows) == len(self.keys):
            return self
        texts = ("keys", "paths", "label", "answer", "prediction", "before")
        lists = {name: [getattr(self, name)[i] for i in rows.tolist()] for name in texts}
        return replace(self, **lists, tested=self.tested[rows], confidence=self.confidence[rows], rank=self.rank[rows])

    @property
    def wrong(self) -> Bool[ndarray, " n"]:
        """Which are known to be predicted wrongly."""
        answer, predicted = (np.array(names, dtype=np.str_) for names in (self.answer, self.prediction))
        return (answer != NONE) & (predicted != NONE) & (answer != predicted)

    def numbers(self, names: Sequence[str]) -> Int64[ndarray, " n"]:
        """The place of each name among the classes; -1 for none."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number.get(name, -1) for name in names], np.int64)
