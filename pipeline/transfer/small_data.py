"""Few images of each class and no others: how accurate training methods become there (Brigato et al. 2022).

"Image Classification with Small Datasets: Overview and Benchmark", IEEE Access: 50 images of each class in most of its
sets, balanced accuracy, three draws of the images, ten trainings on each. Rate and decay are chosen on a fifth of a
draw; then the method is trained on the whole draw. No test image chooses anything.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.shards import Index
from pipeline.base import rng
from pipeline.base.errors import ArtifactError, DivergedError, ParamsError
from pipeline.base.files import whole_file, write_csv
from pipeline.base.params import Params, near
from pipeline.base.records import Record, Work, digest_of, measure
from pipeline.evaluate.accuracy import balanced, confusion
from pipeline.evaluate.metrics import encode
from pipeline.study.score import train_and_predict, training_values
from pipeline.train.labelled_only import FrozenNorm
from pipeline.train.methods import METHODS, PROPAGATE, Chosen
from pipeline.train.task import TrainParams
from pipeline.transfer.asked import Asked
from pipeline.transfer.backbones import Start
from pipeline.transfer.image_sets import ImageSet
from pipeline.transfer.measures import validation_part
from pipeline.transfer.small_table import HEADER, Result, page

log = logging.getLogger(__name__)
TUNING, TEST = "tuning", "test"


@dataclass(frozen=True)
class Plan:
    """What is measured of each backbone on each set."""

    methods: Sequence[str]
    per_class: int  # images of each class
    splits: int  # draws of them
    runs: int  # trainings on a draw, each with a seed of its own
    rates: Sequence[float]  # that validation images choose from
    decays: Sequence[float]

    def check(self) -> None:
        """Raises ParamsError for what cannot be measured."""
        for method in self.methods:
            if method not in METHODS:
                why = ", which trains no network" if method == PROPAGATE else near(method, METHODS)
                raise ParamsError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}{why}")
        if self.per_class < 2 or self.splits < 2 or self.runs < 1:
            raise ParamsError(
                "small_data: expected 2 images of a class or more, one of which validates, 2 splits or more for an "
                f"interval, and 1 run or more, got {self.per_class}, {self.splits} and {self.runs}"
            )


@dataclass(frozen=True)
class Case:
    """One training of a method: tuned on four fifths of a draw and measured on the rest, or tested after all of it."""

    backbone: str
    data: str
    split: int
    part: str  # TUNING or TEST
    rate: float
    decay: float
    seed: int


def small_data(
    params: Params, backbones: Sequence[str], data: Sequence[str], plan: Plan, most: int, out: Path
) -> list[Result]:
    """Writes `small_data.csv`, `small_data.md` and a record for each training below `out`.

    Optimiser, schedule, steps and views are those of the params; a network without weights begins anew in each
    training, and methods that keep the statistics of batch norm are left out there. Of a set at most `most` images of a
    split are looked at. Raises PipelineError for what cannot be read or measured.
    """
    plan.check()
    asked = Asked.read(params, backbones, data, out, most, lambda images: _refuse_few(images, plan.per_class))
    if not any(_begins(method, start) for method in plan.methods for start in asked.starts.values()):
        raise ParamsError(f"--backbone: expected one with weights for {', '.join(plan.methods)}, got random ones alone")
    bench = _Bench(params, asked, plan, out)
    results = []
    for method in plan.methods:
        starts = [name for name, start in asked.starts.items() if _begins(method, start)]
        draws = [(backbone, name, i) for name in asked.sets for backbone in starts for i in range(plan.splits)]
        tried = bench.measured([case for draw in draws for case in bench.grid(method, *draw)], method)
        chosen = {draw: max(_of(draw, tried), key=lambda record: record["balanced"]) for draw in draws}
        values = {draw: (record["rate"], record["decay"]) for draw, record in chosen.items()}
        tests = {draw: [Case(*draw, TEST, *values[draw], seed) for seed in range(plan.runs)] for draw in draws}
        tested = bench.measured([case for cases in tests.values() for case in cases], method)
        for draw in draws:
            runs = tuple(record["balanced"] for record in _of(draw, tested))
            optim = bench.settled(tests[draw][0], method).optim
            found = (optim.learning_rate, optim.weight_decay, chosen[draw]["balanced"])
            results.append(Result(*draw, method, *found, runs))
    write_csv(out / "small_data.csv", HEADER, [result.cells() for result in results])
    about = {images.name: str(images) for images in asked.sets.values()}
    with whole_file(out / "small_data.md") as part:
        part.write_text(page(results, about, plan.per_class), encoding="utf-8")
    return results


class _Bench:
    """Trains and measures; what has its record is not computed again."""

    def __init__(self, params: Params, asked: Asked, plan: Plan, out: Path) -> None:
        self._params, self._asked, self._plan, self._out = params, asked, plan, out
        self._digests = {
            (start.name, images.name): digest_of(
                start.digest(params), images.digest, start.size(images), start.channels_of(images), plan.per_class,
                params.seed,
            )
            for start in asked.starts.values()
            for images in asked.sets.values()
        }  # fmt: skip

    def grid(self, method: str, backbone: str, data: str, split: int) -> list[Case]:
        """A case for each rate and decay, one of those that the method trains alike with: BiT's rule knows neither."""
        found: dict[str, Case] = {}
        for rate, decay in product(self._plan.rates, self._plan.decays):
            case = Case(backbone, data, split, TUNING, rate, decay, self._params.seed)
            found.setdefault(self.settled(case, method).model_dump_json(), case)
        return list(found.values())

    def settled(self, case: Case, method: str) -> TrainParams:
        """What the method trains with: BiT's rule has a rate and a decay of its own."""
        params = self._params_of(case, method)
        labels = self._plan.per_class * len(self._asked.sets[case.data].classes)
        return Chosen.read(params).settled(params.stage("train", TrainParams, (*METHODS, PROPAGATE)), labels)

    def measured(self, cases: Sequence[Case], method: str) -> list[Record]:
        """A record for each case; `balanced` is its balanced accuracy."""

        def name(case: Case, method: str) -> str:
            digest = digest_of(
                self._digests[case.backbone, case.data], *training_values(method, self._params_of(case, method))
            )
            what = f"{case.backbone}-{case.data}-{method}-{case.split}-{case.part}"
            return f"{what}-{case.rate:g}-{case.decay:g}-{case.seed}-{digest}.json"

        def say(case: Case, method: str, record: Record) -> str:
            what = f"{method} from {case.backbone} on {case.data}, draw {case.split}, {case.part}"
            return f"{what}, rate {case.rate:g}, decay {case.decay:g}: {100 * record['balanced']:.1f} %"

        work = Work[Case, Path](
            share=self._drawn,
            shared="draw_seconds",
            score=self._score,
            name=name,
            fields=("balanced",),
            kinds=lambda case, method: ((case.backbone, case.data), (case.backbone, case.data, method, case.part)),
            say=say,
        )
        return measure(cases, [method], work, self._out / "records")

    def _params_of(self, case: Case, method: str) -> Params:
        """All images have a label, so that the graph has nothing to add. No former model may have seen other labels."""
        values = [f"train.method={method}", f"train.optim.learning_rate={case.rate}", "train.targets=own",
                  f"train.optim.weight_decay={case.decay}", "train.head=centroids", f"seed={case.seed}",
                  "train.nncsl.previous=data/no-former-model", "train.dynamic.base="]  # fmt: skip
        untrained = self._asked.starts[case.backbone].untrained
        return self._params.with_values(*values, *(["train.start=scratch"] if untrained else []))

    def _drawn(self, case: Case) -> Path:
        """The folder with `ingest` and `pretrain` of a case, written where it is missing."""
        start, images = self._asked.pair(case.backbone, case.data)
        digest = self._digests[case.backbone, case.data]
        folder = self._out / "draws" / f"{case.backbone}-{case.data}-{case.split}-{case.part}-{digest}"
        if not (folder / "ingest/manifest.json").is_file():
            part = draw(images, self._plan.per_class, case.split, self._params.seed)
            part = part if case.part == TEST else held_out(part, self._params.seed)
            part.write(folder / "ingest", start.size(images), start.channels_of(images))
        start.made(self._params, folder / "ingest", folder / "pretrain")
        return folder

    def _score(self, folder: Path, case: Case, method: str) -> dict[str, Any]:
        start, images = self._asked.pair(case.backbone, case.data)
        keys = Index.read(folder / "ingest/index.parquet", "train").key
        labels = {key: images.answers[key] for key in keys}
        work = folder / "trainings" / digest_of(*asdict(case).values(), method)
        backbone = start.folder or folder / "pretrain"
        try:
            said = train_and_predict(self._params_of(case, method), folder, backbone, labels, work)
        except DivergedError as error:
            log.info("counts as 0: %s", error)
            shutil.rmtree(work)
            return {"balanced": 0.0}
        number = {name: i for i, name in enumerate(images.classes)}
        truth, found = encode(list(said), images.answers, number), encode(list(said), said, number)
        return {"balanced": balanced(confusion(truth, found, len(number)))}


def draw(images: ImageSet, per_class: int, split: int, seed: int) -> ImageSet:
    """So many training images of each class, drawn by chance, and all test images."""
    keys = np.array(images.keys("train"))
    classes = np.array([images.answers[key] for key in keys])
    chance = rng.stream(seed, "small data", split)
    rows = [chance.permutation(np.flatnonzero(classes == name))[:per_class] for name in images.classes]
    return images.part(keys[np.concatenate(rows)].tolist(), images.keys("test"))


def held_out(images: ImageSet, seed: int) -> ImageSet:
    """The training images alone, of which a fifth of each class are to test."""
    keys = images.keys("train")
    number = {name: i for i, name in enumerate(images.classes)}
    held = validation_part(encode(keys, images.answers, number), seed)
    train, test = ([key for key, out in zip(keys, held, strict=True) if out == wanted] for wanted in (False, True))
    return images.part(train, test)


def _begins(method: str, start: Start) -> bool:
    """Whether a method can begin there."""
    return not (start.untrained and issubclass(METHODS[method], FrozenNorm))


def _of(draw: tuple[str, str, int], records: Sequence[Record]) -> list[Record]:
    return [record for record in records if (record["backbone"], record["data"], record["split"]) == draw]


def _refuse_few(images: ImageSet, per_class: int) -> None:
    fewest, name = images.smallest()
    if fewest < per_class:
        raise ArtifactError(
            f"--data {images.name}: expected {per_class} training images of each class, got {fewest} of {name!r}; ask "
            "for fewer with --per-class, look at more with --most, or leave the class out"
        )
