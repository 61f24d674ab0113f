"""What propagation makes of the labels, whatever was trained: an estimate without answers, and figures with them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.left_out import SaidWithout
from pipeline.artifacts.neighbours import Neighbours
from pipeline.evaluate.accuracy import top1
from pipeline.evaluate.metrics import DRAWN_MOST, encode, finest
from pipeline.evaluate.probes import drawn
from pipeline.graph.affinity import Affinity
from pipeline.graph.estimate import forecast
from pipeline.graph.head import head_of
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import PropagateParams, Propagation, propagate
from pipeline.graph.unseen import unseen

MORE = (20, 40, 100)  # labels, whose worth is forecast
DRAWS = 5  # random draws that are propagated


@dataclass(frozen=True)
class Shares:
    """Of each class the share of training images that was assumed, and the share that propagation found."""

    names: Sequence[str]
    assumed: Sequence[float]
    found: Sequence[float]


def measure(
    train: Embeddings,
    test: Embeddings,
    neighbours: Neighbours,
    labels: Labels,
    answers: Labels,
    confirmed: Collection[str],
    params: PropagateParams,
    device: torch.device,
    seed: int,
) -> tuple[dict[str, float], Shares, SaidWithout]:
    """Metrics of propagation, class shares, and what is said of each label without it.

    Metrics that need answers are absent without them. `estimated_top1` and its ends, `forecast_N_top1` with N more
    labels; `n_unlike` images that look like no class with a label, in `unlike_groups`; `propagate_top1` on the test
    images with an answer, `random_propagate_top1_mean` and `_std` over random draws of as many labels as were asked
    for. Of the `confirmed` labels nothing is estimated.
    """
    label, answer = finest(labels), finest(answers)
    classes = sorted({*label.values()})  # no answer has a part in the estimate
    names = [*classes, *sorted({*answer.values()} - {*classes})]
    number = {name: i for i, name in enumerate(names)}
    of_picks, of_train = encode(train.keys, label, number), encode(train.keys, answer, number)
    of_test = encode(test.keys, answer, number)
    known = read_shares(params.prior, classes)
    affinity = Affinity.of(neighbours, device)

    def result_of(
        rows: Int64[ndarray, " m"], of: Int64[ndarray, " m"], count: int, asked: Bool[ndarray, " m"] | None = None
    ) -> Propagation:
        shares = None if known is None else np.append(known, np.zeros(count - len(known)))
        return propagate(train.vectors, affinity, rows, of, count, params, shares, asked)

    def on_test(result: Propagation) -> float:
        head = head_of(result, train.vectors, names[: len(result.bias)], neighbours.rows.shape[1]).to(device)
        return top1(of_test[of_test >= 0], predictions(head, test.vectors[of_test >= 0], device))

    rows = np.flatnonzero(of_picks >= 0)
    asked = np.array([train.keys[row] not in confirmed for row in rows.tolist()], bool)
    size = int(asked.sum())
    result = result_of(rows, of_picks[rows], len(classes), asked)
    expected = {f"forecast_{more}": forecast(result.estimate, max(size, 1), more) for more in MORE}
    values: dict[str, float] = {}
    for name, one in {"estimated": result.estimate, **expected}.items():
        ends = {"top1": one.top1, "top1_low": one.low, "top1_high": one.high, "top1_at_least": one.at_least}
        values |= {f"{name}_{end}": value for end, value in ends.items()}
    taken = result.best(train.vectors)[0][:, 0]
    found = np.bincount(taken, minlength=len(classes)) / len(train.keys)
    unlike = unseen(train.vectors, neighbours, affinity, rows, of_picks[rows], asked, taken, params.alpha)
    values |= {"n_unlike": len(unlike.rows), "unlike_groups": len(unlike.groups)}
    if (of_test >= 0).any():
        values["propagate_top1"] = on_test(result)
        answered = np.flatnonzero(of_train >= 0)
        if 0 < size <= len(answered) <= DRAWN_MOST:
            draws = [answered[drawn(len(answered), size, seed, i)] for i in range(DRAWS)]
            tops = [on_test(result_of(draw, of_train[draw], len(names))) for draw in draws]
            values["random_propagate_top1_mean"] = float(np.mean(tops))
            values["random_propagate_top1_std"] = float(np.std(tops, ddof=1))
    return values, Shares(classes, result.prior.tolist(), found.tolist()), _without(result, train.keys, rows, classes)


def _without(
    result: Propagation, keys: Sequence[str], rows: Int64[ndarray, " m"], classes: Sequence[str]
) -> SaidWithout:
    out, p = result.left_out, result.without_own()
    said = zip(
        rows[out.place].tolist(), out.labels.tolist(), p.argmax(axis=1).tolist(), p.max(axis=1), out.found, strict=True
    )
    table = [(keys[row], classes[own], classes[best], share) for row, own, best, share, found in said if found]
    columns = zip(*table, strict=True) if table else ((), (), (), ())
    names, labels, best, shares = (list(column) for column in columns)
    return SaidWithout(names, labels, best, np.array(shares, np.float64))


@torch.inference_mode()
def predictions(head: torch.nn.Module, x: Float32[ndarray, "q d"], device: torch.device) -> Int64[ndarray, " q"]:
    """The class that a head names for each vector."""
    return head(torch.from_numpy(x).to(device))["label"].argmax(dim=1).cpu().numpy()
