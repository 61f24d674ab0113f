"""The flat dictionary of a run's metrics, and the reason for each one that is absent.

A metric that cannot be known is absent, never zero: answers may be missing, or cover a part of the images. Names
without a prefix are of the finest level and the model's main readout.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Predictions, PseudoLabels
from pipeline.artifacts.shards import Column
from pipeline.base.errors import ArtifactError
from pipeline.base.params import Block
from pipeline.evaluate import accuracy, levels, probes
from pipeline.evaluate.predict import SplitPredictions

TEST = "no test image has an answer"
AUDIT = "no image was labelled for an audit (label.audit)"
DRAWS = "they need answers for test images, and for at least as many training images as were labelled"
NEIGHBOURS = "it needs answers for test images and for training images"
NOT_HELD_OUT = "no image is held out for a test"
UNANSWERED = "no image has an answer"
DRAWN_MOST = 200_000  # training images with an answer, beyond which no draw is propagated: each takes minutes there
MANY_DRAWS = f"{DRAWS}, but no more than {DRAWN_MOST:,}"
OF_TEST = ("top1", "top1_low", "top1_high", "macro_f1", "ece", "n_test_answered", "probe_top1", "propagate_top1")
NEEDS = {  # why each metric that may be absent is so
    **dict.fromkeys(OF_TEST, TEST),
    "knn_top1": NEIGHBOURS,
    **dict.fromkeys(
        ("random_probe_top1_mean", "random_probe_top1_std", "random_probe_classes_covered_mean"),
        DRAWS,
    ),
    **dict.fromkeys(("random_propagate_top1_mean", "random_propagate_top1_std"), MANY_DRAWS),
    **dict.fromkeys(("n_audit", "n_audit_asked", "audit_top1", "audit_top1_low", "audit_top1_high"), AUDIT),
    "mean_confidence": NOT_HELD_OUT,
    "classes_total": UNANSWERED,
}


class EvaluateParams(Block):
    """The block `evaluate` of params.yaml."""

    neighbours: int = Field(ge=1)
    random_draws: int = Field(ge=2, le=100)
    batch_size: int = Field(ge=1)


@dataclass(frozen=True)
class Metrics:
    """Flat names to numbers, and every random draw behind `random_probe_*`."""

    values: Mapping[str, float | int]
    draws: Sequence[probes.Draw]


def gather(
    split: SplitPredictions,
    labels: Labels,
    answers: Labels,
    classes_without_label: Sequence[str],
    train: Embeddings,
    test: Embeddings,
    params: EvaluateParams,
    seed: int,
    confirmed: Collection[str] = (),
) -> Metrics:
    """Everything that can be known of a run.

    `split` is of the test images; `labels` are those to learn from, of which the `confirmed` do not stand beside random
    draws; `answers` are all that are known, of both splits. A test answer
    of a class without a label is a mistake like any other. Raises ArtifactError where the tables do not belong
    together.
    """
    predictions = with_answers(split, answers)
    label, answer = finest(labels), finest(answers)
    _check(predictions, label, train, test)
    number = {name: i for i, name in enumerate(sorted({*label.values(), *answer.values(), *predictions.predictions}))}
    of_train, of_test = encode(train.keys, answer, number), encode(test.keys, answer, number)
    of_picks, of_asked = (encode(train.keys, finest(table), number) for table in (labels, labels.less(confirmed)))
    picked, train_answered, test_answered = of_picks >= 0, of_train >= 0, of_test >= 0
    given = of_picks[picked]
    values: dict[str, float | int] = {
        "n_train": len(train.keys),
        "n_test": len(test.keys),
        "n_labels": len(given),
        "classes_covered": accuracy.covered(given),
        "classes_unreached": len(classes_without_label),
        "label_balance": accuracy.balance(given),
    }
    if confirmed:
        values["n_confirmed"] = len(given) - int((of_asked >= 0).sum())
    if test.keys:
        values["mean_confidence"] = float(predictions.confidence.mean())
    if len(labels.levels) > 1:
        values["n_coarse_labels"] = sum(not names[0] and any(names) for names in labels.rows.values())
    values |= _of_readouts(split, labels, answers)
    if answer:
        values["classes_total"] = len({*label.values(), *answer.values()})
    if not test_answered.any():
        return Metrics(values, [])
    truth, queries = of_test[test_answered], test.vectors[test_answered]
    predicted = np.array([number[name] for name in predictions.predictions])[test_answered]
    values |= _of_model(truth, predicted, predictions.confidence[test_answered], len(number))
    picked, given = of_asked >= 0, of_asked[of_asked >= 0]
    if not len(given):
        return Metrics(values, [])
    probed = probes.linear_probe(train.vectors[picked], given, queries)
    values["probe_top1"] = accuracy.top1(truth, probed)
    x, y = train.vectors[train_answered], of_train[train_answered]
    if len(y):
        values["knn_top1"] = accuracy.top1(truth, probes.nearest_vote(x, y, queries, params.neighbours))
    if len(y) < len(given):
        return Metrics(values, [])
    draws = probes.random_draws(x, y, queries, truth, size=len(given), draws=params.random_draws, seed=seed)
    return Metrics(values | _of_draws(draws), draws)


def of_audit(audit: Labels, guessed: PseudoLabels | None) -> dict[str, float | int]:
    """The accuracy of the pseudo-labels on random images that a person labelled to measure, with its exact interval.

    The images are drawn from those that were neither picks nor of an earlier round then, and stand for these alone.
    `n_audit_asked` counts those too that have no label; were these all predicted wrongly, or all rightly, the share
    would be `audit_top1_if_wrong`, or `audit_top1_if_right`. Both are absent where all have a label.
    """
    label = finest(audit)
    if guessed is None or not label:
        return {}
    found = dict(zip(guessed.keys, guessed.ranking.best, strict=True))
    right = sum(found.get(key) == name for key, name in label.items())
    low, high = accuracy.exact(right, len(label))
    share = right / len(label)
    asked = len(audit.rows)
    values: dict[str, float | int] = {"n_audit": len(label), "n_audit_asked": asked}
    values |= {"audit_top1": share, "audit_top1_low": low, "audit_top1_high": high}
    if asked > len(label):
        values["audit_top1_if_wrong"] = right / asked
        values["audit_top1_if_right"] = (right + asked - len(label)) / asked
    return values


def finest(table: Labels) -> dict[str, str]:
    """The class of each key at the finest level, less the keys that have none there."""
    return {key: names[0] for key, names in table.rows.items() if names[0]}


def with_answers(split: SplitPredictions, answers: Labels) -> Predictions:
    """The main readout's predictions beside the answers."""
    answer = finest(answers)
    row_answers = [answer.get(key, "") for key in split.keys]
    return Predictions(split.keys, row_answers, split.ranking["label"])


def encode(keys: Sequence[str], table: Mapping[str, str], number: Mapping[str, int]) -> Int64[ndarray, " n"]:
    """The number of each key's class, -1 where the table has no such key."""
    return np.array([number[table[key]] if key in table else -1 for key in keys], dtype=np.int64)


def absent(values: Mapping[str, object]) -> list[tuple[str, list[str]]]:
    """Why metrics are absent from `values`: each reason with the names that it holds for.

    Where no image has an answer, that is the one reason.
    """
    reasons: dict[str, list[str]] = {}
    for name, why in NEEDS.items():
        if name not in values and not (why == AUDIT and "top1" in values):  # where there are answers, nobody needs one
            reasons.setdefault(why if "classes_total" in values else UNANSWERED, []).append(name)
    return list(reasons.items())


def _of_readouts(split: SplitPredictions, labels: Labels, answers: Labels) -> dict[str, float | int]:
    """Coarser levels, and other readouts of the finest level."""
    parents = levels.parents_in(answers, labels)
    values: dict[str, float | int] = {}
    for readout, ranking in split.ranking.items():
        if readout == "label":
            continue
        at = answers.levels.index(readout) if readout in answers.levels else 0
        comparable = readout in answers.levels or readout not in labels.levels  # else the answers lack this level
        truth = [answers.rows[key][at] if comparable and key in answers.rows else "" for key in split.keys]
        values |= levels.of_readout(readout, truth, ranking.best, ranking.confidence)
        share = levels.consistency(split.ranking["label"].best, ranking.best, parents.get(readout, {}))
        if share is not None:
            values[f"{readout}_consistency"] = share
    return values


def _of_model(
    truth: Int64[ndarray, " n"], predicted: Int64[ndarray, " n"], confidence: Float[ndarray, " n"], k: int
) -> dict[str, float | int]:
    share = accuracy.top1(truth, predicted)
    low, high = accuracy.wilson(share, len(truth))
    return {
        "n_test_answered": len(truth),
        "top1": share,
        "top1_low": low,
        "top1_high": high,
        "macro_f1": accuracy.macro_f1(accuracy.confusion(truth, predicted, k)),
        "ece": accuracy.calibration(confidence, truth == predicted).ece,
    }


def _of_draws(draws: Sequence[probes.Draw]) -> dict[str, float | int]:
    shares = np.array([draw.top1 for draw in draws])
    return {
        "random_probe_top1_mean": float(shares.mean()),
        "random_probe_top1_std": float(shares.std(ddof=1)),
        "random_probe_classes_covered_mean": float(np.mean([draw.classes_covered for draw in draws])),
    }


def _check(predictions: Predictions, label: Mapping[str, str], train: Embeddings, test: Embeddings) -> None:
    if not label:
        raise ArtifactError("labels.csv: expected at least one label, got none")
    Column(train.keys).rows_of(list(label), "labels.csv", "an embedded training image")
    if list(predictions.keys) != list(test.keys):
        both = set(predictions.keys) & set(test.keys)
        raise ArtifactError(
            f"embed/test: expected vectors of the {len(predictions.keys)} test images, got {len(test.keys)}, "
            f"{len(both)} of them the same; `dvc repro -f embed` makes them anew"
        )
