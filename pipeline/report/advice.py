"""What to do about what is not known, and what to type next."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.artifacts.skipped import MARKED
from pipeline.base.typed import MORE, Typed
from pipeline.evaluate import metrics as of
from pipeline.evaluate.headline import Kind, told_from
from pipeline.graph.estimate import FEW
from pipeline.report.plots import percent

AUDIT = 50  # images that are worth asking for: the interval of an accuracy of 80 % is then 23 points wide
NOT_ASKED = "images that you confirm or label later are not asked about"
MEASURE = f"set label.audit: {AUDIT} in %s, %s, and label these {AUDIT} random images too ({NOT_ASKED})"
ANSWER = "put the classes that you know into answers.csv beside the images, or keep a folder for each class"
CURE: Mapping[str, str] = {  # by the reason that evaluate gives
    of.TEST: f"{MEASURE}; or {ANSWER}",
    of.AUDIT: MEASURE,
    of.NEIGHBOURS: ANSWER,
    of.DRAWS: f"{ANSWER}. Nothing else needs it",
    of.MANY_DRAWS: f"{ANSWER}. Nothing else needs it",
    of.NOT_HELD_OUT: "set ingest.test_fraction: 0.2 in params.yaml to hold out a fifth; fewer images are left then",
    of.UNANSWERED: f"{MEASURE}; or {ANSWER}",
}


def cures(metrics: Mapping[str, float], typed: Typed) -> Mapping[str, str]:
    """`CURE`, without the advice to measure by an audit where there is one."""
    found = {**CURE, of.TEST: ANSWER, of.UNANSWERED: ANSWER} if "n_audit" in metrics else CURE
    return {why: words.replace(MEASURE, MEASURE % (typed.params, typed.again)) for why, words in found.items()}


@dataclass(frozen=True)
class Step:
    """A command, and what it is good for."""

    why: str
    command: str


def steps(
    kind: Kind,
    metrics: Mapping[str, float],
    missing: Mapping[str, str],
    kept: bool,
    unreached: Collection[str],
    typed: Typed,
    *,
    git: bool,
) -> list[Step]:
    """What to type next, the most useful first.

    `missing` says why picks have no label, `kept` whether the labels are those of finished rounds alone, `git` whether
    the folder is a repository, where DVC keeps a run under a name.
    """
    found = []
    marked = sum(why in MARKED for why in missing.values())
    if marked:
        picks = "1 pick is" if marked == 1 else f"{marked} picks are"
        words = f"{picks} skipped, of no class or not usable: ask for others in their place.{typed.stops}"
        found.append(Step(words, typed.replace))
    if kind in ("bound", "estimate") and "n_audit" not in metrics:
        where = f"the block label of {typed.params}"
        words = f"The accuracy is not measured. Put audit: {AUDIT} into {where} ({NOT_ASKED}), then:"
        found.append(Step(words, typed.again))
    if kind != "test" and metrics.get("n_unlike"):
        words = f"About {metrics['n_unlike']:,} images look like none of your classes: name them under “Like no class”."
        found.append(Step(words, typed.label))
    words = "More labels: keep these, and choose the next images to label."
    new = metrics.get("n_new_classes")
    if new:
        classes = "1 new class is" if new == 1 else f"{new} new classes are"
        words = (
            f"{classes} without a name. Keep these labels, choose the next images, and name them under “Like no class”."
        )
    elif unreached:
        classes = "1 class has" if len(unreached) == 1 else f"{len(unreached)} classes have"
        words = f"{classes} no label. Keep these labels, and choose the next images to label."
    elif told_from(metrics) >= FEW:
        words += (
            f" With {MORE} more about {percent(metrics[f'forecast_{MORE}_top1'], 0)} would be right, by an estimate."
        )
    found.append(Step(words if kind == "test" else words + typed.stops, typed.again if kept else typed.more))
    if git:
        words = f"Other values: keep this run as “before”, change {typed.params}, run again, and compare the two."
        found.append(Step(words, typed.compare))
    found.append(Step("Good enough: label new images with the trained model.", typed.predict))
    return found
