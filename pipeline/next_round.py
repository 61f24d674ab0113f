"""Keeps the round that is finished, and sets the params of the next one."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.audit import audit_keys, read_audit
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.rounds import labelled_keys, next_number
from pipeline.artifacts.shards import Index
from pipeline.artifacts.skipped import MARKED, Skipped, read_missing
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.files import read_json
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.base.typed import Typed
from pipeline.embed.run import EmbedParams
from pipeline.evaluate.headline import Figure, headline, told_from
from pipeline.graph.estimate import Estimate, forecast
from pipeline.keep_round import keep_round
from pipeline.new_run import edited, write_params
from pipeline.select.methods import SELECTORS


def next_round(file: Path, data: Path, budget: int, method: str, typed: Typed) -> Iterator[str]:
    """Keeps the round in `data/rounds`, writes budget and method of the next one into the params; says what it does.

    Raises ArtifactError where the round has no labels, or they are not trained on and measured yet, and ParamsError for
    a method that is none or a budget that is more than the images left. Nothing is changed then.
    """
    params = edited(file, [], [f"select.budget={budget}", f"select.method={method}"])
    before = Params.read(file)
    labels, metrics = data / "label/labels.csv", data / "evaluate/metrics.json"
    if not labels.is_file():
        first = typed.label if (data / "label/page.html").is_file() else typed.again
        raise ArtifactError(f"{labels}: expected the labels of this round, found none; `{first}` first")
    if not metrics.is_file():
        raise ArtifactError(f"{metrics}: expected what a finished `{typed.again}` leaves, found none; run it first")
    left = _left(data, int(before.lookup("label.audit")))
    if budget > left:
        raise ParamsError(f"--budget: expected at most {left}, the images that are left to choose from, got {budget}")
    number, rounds = next_number(data / "rounds"), data / "rounds"
    block, machine = before.stage("embed", EmbedParams), before.block("machine", Machine)
    ingest, select, model = data / "ingest", data / "select", data / "train"
    previous, pretrain = data / "previous", data / "pretrain"
    kept, count = keep_round(
        ingest, select, labels, model, metrics, rounds, previous, pretrain, block, machine, typed.again
    )
    write_params(file, params)
    measured, method_now = read_json(metrics), read_json(model / "model.json")["method"]
    yield f"round {number}: {count} labels are kept in {kept}; {headline(measured, method_now)}"
    for key, value in (("select.method", method), ("select.budget", budget)):
        if before.lookup(key) != value:
            yield f"  {key} was {before.lookup(key)} and is {value} now"
    chooses = f"round {number + 1}: `{typed.again}` chooses {budget} images"
    kind = Figure.of(measured).kind
    if kind == "bound":
        yield chooses
        return
    now = Estimate(*(measured[f"estimated_top1{end}"] for end in ("", "_low", "_high", "_at_least")))
    then = forecast(now, told_from(measured), budget)
    soon, today, reach = f"{then.top1:.0%}", f"{now.top1:.0%}", f"(95 %: {then.low:.0%} to {then.high:.0%})"
    if soon == today:
        yield (
            f"{chooses}; the estimate is {today} now {reach}, too coarse to show what their labels bring: the model "
            "may get better all the same"
        )
    elif kind == "estimate":
        yield (
            f"{chooses}; with their labels spread over the graph, about {soon} of the images will be right {reach}, "
            f"{today} now"
        )
    else:  # what was measured is said above, and differs from the estimate
        yield f"{chooses}; with their labels the estimate goes from {today} to {soon} {reach}"
    if SELECTORS[method].needs_outputs:
        yield "  the model is unsure of these images, which are harder: an estimate with their labels may be too low"


def _left(data: Path, audit: int) -> int:
    """How many training images select may choose from once this round is kept."""
    keys, rounds = Index.read(data / "ingest/index.parquet", "train").key, data / "rounds"
    missing = data / "label/missing.csv"
    known = {key for key, names in Labels.read(data / "label/labels.csv").rows.items() if any(names)}
    if rounds.is_dir():
        known |= {*labelled_keys(rounds)}
    gone = {*known, *audit_keys(keys, known, audit, ()), *Skipped.read(rounds).keys}
    if audit:
        gone |= {*read_audit(rounds)}
    if missing.is_file():
        gone |= {key for key, why in read_missing(missing).items() if why in MARKED}
    return len({*keys} - gone)
