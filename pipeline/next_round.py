"""Keeps the round that is finished, and sets the params of the next one."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.rounds import next_number
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.embed.run import EmbedParams
from pipeline.evaluate.headline import headline
from pipeline.evaluate.metrics import finest
from pipeline.graph.estimate import Estimate, forecast
from pipeline.keep_round import keep_round
from pipeline.new_run import edited, write_params


def next_round(file: Path, data: Path, budget: int, method: str) -> Iterator[str]:
    """Keeps the round in `data/rounds`, writes budget and method of the next one into the params; says what it does.

    Raises ArtifactError where the round has no labels, or they are not trained on and measured yet, and ParamsError for
    a method that is none. Nothing is changed then.
    """
    params = edited(file, [], [f"select.budget={budget}", f"select.method={method}"])
    before = Params.read(file)
    labels, metrics = data / "label/labels.csv", data / "evaluate/metrics.json"
    if not labels.is_file():
        page = data / "label/page.html"
        raise ArtifactError(
            f"{labels}: expected the labels of this round, found none; label the images of {page} first"
        )
    if not metrics.is_file():
        raise ArtifactError(f"{metrics}: expected what a finished `dvc repro` leaves, found none; run it first")
    number, rounds = next_number(data / "rounds"), data / "rounds"
    block, machine = before.stage("embed", EmbedParams), before.block("machine", Machine)
    ingest, select, model = data / "ingest", data / "select", data / "train"
    kept, count = keep_round(ingest, select, labels, model, metrics, rounds, block, machine)
    write_params(file, params)
    measured = read_json(metrics)
    yield f"round {number}: {count} labels are kept in {kept}; {headline(measured)}"
    for key, value in (("select.method", method), ("select.budget", budget)):
        if before.lookup(key) != value:
            yield f"  {key} was {before.lookup(key)} and is {value} now"
    now = Estimate(*(measured[f"estimated_top1{end}"] for end in ("", "_low", "_high", "_at_least")))
    then = forecast(now, len(finest(Labels.read(labels))), budget)
    yield (
        f"round {number + 1}: `dvc repro` chooses {budget} images; with their labels spread over the graph, about "
        f"{then.top1:.0%} of the images will be right (95 %: {then.low:.0%} to {then.high:.0%}), {now.top1:.0%} now"
    )
