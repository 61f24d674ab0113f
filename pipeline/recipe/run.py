"""Lays out a run for a folder of images by the rule, and says what it chose and how long that takes.

Where git is installed the run is a repository of its own.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.artifacts.settings import flat
from pipeline.base.errors import ParamsError
from pipeline.base.params import Params, parse_yaml
from pipeline.ingest.files import Found, look_below
from pipeline.ingest.sources.folder import Folder
from pipeline.new_run import HOME, new_run
from pipeline.recipe.choose import choose
from pipeline.recipe.look import Pictures
from pipeline.recipe.times import AFTER, BEFORE, seconds
from pipeline.select.methods import SELECTORS

NOTE = "elsewhere.txt"
BUDGET = 60  # labels of the first round
KEPT = ("label.audit", "label.source", "select.budget", "select.method")  # an audit that is lost would be trained on
PRESET, ADAPTED = HOME / "presets/photos/packaged.yaml", "PRESET=presets/photos/adapted.yaml"
LARGER = "PRESET=presets/photos/larger.yaml"


def lay_out(
    folder: Path, images: Path, budget: int | None, presets: Sequence[Path], sets: Sequence[str]
) -> Iterator[str]:
    """Lays out `folder`, by the rule and the `presets` over it, and gives the lines to show.

    Where there is a run, it keeps what a person sets from round to round; `budget` and `sets` go before that.
    Raises ParamsError for more labels than there are images, and for what `new_run` refuses; SourceError for what
    ingest would refuse of the names of files and folders, and of the tables of answers.
    """
    found = look_below(images)
    has_answer = [item.answer is not None for item in Folder(path=str(images)).listed(found).items]
    pictures, now = Pictures.look(images, found), state(found)
    before = values_before(folder / "params.yaml")
    kept = {key: before[key] for key in KEPT if key in before}
    budget = budget or kept.get("select.budget", BUDGET)
    if budget >= pictures.count:
        raise ParamsError(f"--budget: expected fewer than the {pictures.count} images of {images}, got {budget}")
    choices = choose(pictures, gpu=torch.cuda.is_available())
    path = str(images.resolve()).replace("'", "''")
    chosen = [f"{choice.key}={choice.value}" for choice in choices]
    method, noted = str(kept.get("select.method")), folder / "data/images" / NOTE
    others = noted.is_file() and noted.read_text(encoding="utf-8") != now
    outdated = others and method in SELECTORS and SELECTORS[method].needs_outputs
    if outdated:
        kept["select.method"] = "auto"
    own = [f"{key}={value}" for key, value in {**kept, "select.budget": budget}.items()]
    values = [f"ingest.folder.path='{path}'", *chosen, *own, *sets]
    new_run(folder, [PRESET, *presets], values, git=shutil.which("git") is not None)
    params = Params.read(folder / "params.yaml")
    if not noted.parent.is_symlink():
        noted.write_text(now, encoding="utf-8")  # DVC watches it, so that a change elsewhere is ingested
    yield f"{images}: {pictures}"
    for key, value in flat(params.tree).items():
        if key in before and before[key] != value:
            yield f"  {key} was {before[key]!r} and is {value!r} now"
    if outdated and params.lookup("select.method") == "auto":
        yield f"  select.method: auto for this round, as {method} needs outputs for the images as they are now"
    for choice in choices:
        if params.lookup(choice.key) == choice.value:
            yield f"  {choice.key}: {choice.value}, as {choice.why}"
    pretrain = params.tree["pretrain"]
    model = pretrain["backbones"][pretrain["backbone"]].get("model")
    yield f"  pretrain.backbone: {pretrain['backbone']}" + (f", {model}" if model else "")
    steps = f"{pretrain['steps']} steps" if pretrain["method"] != "none" else f"weights {pretrain['none']['weights']}"
    yield f"  pretrain.method: {pretrain['method']}, {steps}"
    yield f"  train.method: {params.lookup('train.method')}"
    if all(has_answer) and params.lookup("label.source") == "file":
        yield (
            "  label.source: file, so a person labels, and the classes that all images have measure the result; with "
            f"answers, in {folder}/params.yaml, they are the labels too"
        )
    yield f"  select.budget: {params.lookup('select.budget')}"
    times = seconds(pictures, params)
    ends: Sequence[tuple[Sequence[str], str]] = (((*BEFORE, *AFTER), "the result"),)
    if params.lookup("label.source") == "file":
        ends = (BEFORE, "the page that asks for labels"), (AFTER, "the result, once they are there")
    for stages, end in ends:
        each = ", ".join(f"{stage} {times[stage]:.0f} s" for stage in stages)
        yield f"about {duration(sum(times[stage] for stage in stages))} to {end}: {each}"
    for stage, quick in (("pretrain", "none"), ("train", "propagate")):
        if params.lookup(f"{stage}.method") != quick:
            yield f"and the steps of {stage}: its log says how long they take, after some of them"
    better = f"more labels, {LARGER} or {ADAPTED}" if pretrain["method"] == "none" else "more labels"
    yield f"shorter: a smaller ingest.size; better: {better} ({folder}/params.yaml has all values)"


def values_before(file: Path) -> dict[str, Any]:
    """The values of a run by dotted key, also of keys that have another name by now; none without such a file."""
    if not file.is_file():
        return {}
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
    except ParamsError:  # no YAML any more
        return {}
    return flat(tree) if isinstance(tree, dict) else {}


def state(found: Found) -> str:
    """A line that is another one when these files change."""
    files = sorted([*found.images, *(file for others in found.others.values() for file in others)])
    lines = [f"{file} {file.lstat().st_size} {file.lstat().st_mtime_ns}" for file in files]
    digest = hashlib.sha256("\n".join(map(repr, lines)).encode()).hexdigest()
    return f"{digest} of what lies elsewhere\n"


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
