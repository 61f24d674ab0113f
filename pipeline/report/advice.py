"""What to do about what is not known, and what to type next."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.artifacts.skipped import NOT_USABLE, SKIPPED
from pipeline.evaluate import metrics as of
from pipeline.evaluate.headline import Kind, told_from
from pipeline.graph.estimate import FEW
from pipeline.report.plots import percent

AUDIT = 50  # images that are worth asking for: the interval of an accuracy of 80 % is then 23 points wide
MEASURE = f"set label.audit: {AUDIT} in params.yaml, dvc repro, and label these {AUDIT} random images too"
ANSWER = "put the classes that you know into answers.csv beside the images, or keep a folder for each class"
CURE: Mapping[str, str] = {  # by the reason that evaluate gives
    of.TEST: f"{MEASURE}; or {ANSWER}",
    of.AUDIT: MEASURE,
    of.NEIGHBOURS: ANSWER,
    of.DRAWS: f"{ANSWER}. Nothing else needs it",
    of.MANY_DRAWS: f"{ANSWER}. Nothing else needs it",
    of.NOT_HELD_OUT: "set ingest.test_fraction: 0.2 in params.yaml to hold out a fifth; fewer images are left then",
    of.UNNAMED: f"{ANSWER}. Label a few images of each class that you miss",
}
PREDICT = "python -m stages.predict --images some/folder --out predictions.csv"
MORE = 40  # images of the next round
NEXT = f"python -m stages.next_round --budget {MORE} && dvc repro"


@dataclass(frozen=True)
class Step:
    """A command, and what it is good for."""

    why: str
    command: str


def steps(
    kind: Kind, metrics: Mapping[str, float], missing: Mapping[str, str], kept: bool, unreached: Collection[str]
) -> list[Step]:
    """What to type next in the run's folder, the most useful first.

    `missing` says why picks have no label, `kept` whether the labels are those of finished rounds alone.
    """
    found = []
    marked = sum(why in (SKIPPED, NOT_USABLE) for why in missing.values())
    if marked:
        words = f"{marked} picks were skipped or are not usable: ask for others in their place."
        found.append(Step(words, "python -m stages.replace_picks && dvc repro"))
    if kind in ("bound", "estimate"):
        words = f"The accuracy is not measured. Put audit: {AUDIT} into the block label of params.yaml, then:"
        found.append(Step(words, "dvc repro"))
    words = "More labels: keep these, and choose the next images to label."
    if unreached:
        words = f"{len(unreached)} classes have no label. Keep these labels, and choose the next images to label."
    elif told_from(metrics) >= FEW:
        words += (
            f" With {MORE} more about {percent(metrics[f'forecast_{MORE}_top1'], 0)} would be right, by an estimate."
        )
    found.append(Step(words, "dvc repro" if kept else NEXT))
    found.append(Step("Good enough: label new images with the trained model.", PREDICT))
    return found
