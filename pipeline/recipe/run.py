"""Lays out a run for a folder of images by the rule, and says what it chose and how long that takes.

Where git is installed the run is a repository of its own.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from pipeline.base.errors import ParamsError
from pipeline.base.params import Params
from pipeline.new_run import HOME, new_run
from pipeline.recipe.choose import choose
from pipeline.recipe.look import Pictures
from pipeline.recipe.times import AFTER, BEFORE, seconds

PRESET, ADAPTED = HOME / "presets/photos/packaged.yaml", "PRESET=presets/photos/adapted.yaml"


def lay_out(folder: Path, images: Path, budget: int, presets: Sequence[Path], sets: Sequence[str]) -> Iterator[str]:
    """Lays out `folder`, by the rule and the `presets` over it, and gives the lines to show.

    Raises ParamsError for more labels than there are images, and for what `new_run` refuses.
    """
    pictures = Pictures.look(images)
    if budget >= pictures.count:
        raise ParamsError(f"--budget: expected fewer than the {pictures.count} images of {images}, got {budget}")
    choices = choose(pictures, gpu=torch.cuda.is_available())
    path = str(images.resolve()).replace("'", "''")
    chosen = [f"{choice.key}={choice.value}" for choice in choices]
    values = [f"ingest.folder.path='{path}'", f"select.budget={budget}", *chosen, *sets]
    new_run(folder, [PRESET, *presets], values, git=shutil.which("git") is not None)
    params = Params.read(folder / "params.yaml")
    yield f"{images}: {pictures}"
    for choice in choices:
        if params.lookup(choice.key) == choice.value:
            yield f"  {choice.key}: {choice.value}, as {choice.why}"
    for key in ("pretrain.method", "pretrain.none.weights", "train.method"):
        yield f"  {key}: {params.lookup(key)}"
    times = seconds(pictures, params)
    for stages, end in ((BEFORE, "the page that asks for labels"), (AFTER, "the result, once they are there")):
        each = ", ".join(f"{stage} {times[stage]:.0f} s" for stage in stages)
        yield f"about {duration(sum(times[stage] for stage in stages))} to {end}: {each}"
    if params.lookup("pretrain.method") != "none":
        yield "and the steps of pretrain: its log says how long they take, after some of them"
    yield f"shorter: a smaller ingest.size; better: more labels, or {ADAPTED} ({folder}/params.yaml has all values)"


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
