"""A table of backbones by sets of images: checks what is asked for, computes what is missing, writes CSV and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.files import whole_file, write_csv
from pipeline.base.params import Params
from pipeline.base.records import Record, Work, measure
from pipeline.transfer.asked import Asked
from pipeline.transfer.cell import LOGISTIC, Cell, Plan, cell_digest
from pipeline.transfer.image_sets import ImageSet
from pipeline.transfer.scaling import ENOUGH, POINTS
from pipeline.transfer.table import HEADER, page, rows


@dataclass(frozen=True)
class Pair:
    """A cell of the table, by the names of its row and its column."""

    backbone: str
    data: str


def transfer(
    params: Params, backbones: Sequence[str], data: Sequence[str], plan: Plan, most: int, out: Path
) -> list[Record]:
    """Writes `transfer.csv`, `transfer.md` and a record for each measure of each cell below `out`.

    Of a set at most `most` images of a split are taken. All is checked before the first cell is computed. Raises
    PipelineError for what cannot be read or measured.
    """
    if min(plan.shots, default=1) < 1 or min(plan.labels, default=1) < 1 or plan.seeds < 2 or most < 1:
        raise ParamsError(
            "transfer: expected shots, labels and images of at least 1 and two seeds, got "
            f"{list(plan.shots)}, {list(plan.labels)}, {most} and {plan.seeds}"
        )
    asked = Asked.read(params, backbones, data, out, most, lambda images: _refuse_few(images, plan))
    pairs = [Pair(backbone, name) for name in asked.sets for backbone in asked.starts]
    digests = {pair: cell_digest(params, *asked.pair(pair.backbone, pair.data)) for pair in pairs}

    def cell(pair: Pair) -> Cell:
        folder = out / "cells" / f"{pair.backbone}-{pair.data}-{digests[pair]}"
        return Cell(params, plan, *asked.pair(pair.backbone, pair.data), folder)

    def say(pair: Pair, method: str, record: Record) -> str:
        figures = ", ".join(f"{name} {100 * value[0]:.1f} %" for name, value in record["figures"].items())
        return f"{pair.backbone} on {pair.data}: {figures or method}"

    work = Work[Pair, Cell](
        share=cell,
        shared="embed_seconds",
        score=lambda shared, _, method: shared.score(method),
        name=lambda pair, method: (
            f"{pair.backbone}-{pair.data}-{method}-{digests[pair]}{plan.digest(method, params)}.json"
        ),
        fields=("figures",),
        kinds=lambda pair, method: (pair.backbone, (pair.data, method)),
        say=say,
    )
    records = measure(pairs, plan.methods, work, out / "records")
    write_csv(out / "transfer.csv", HEADER, rows(records))
    about = {images.name: str(images) for images in asked.sets.values()}
    with whole_file(out / "transfer.md") as part:
        part.write_text(page(records, about), encoding="utf-8")
    return [record for record in records if record["method"] == LOGISTIC]


def _refuse_few(images: ImageSet, plan: Plan) -> None:
    """Raises ArtifactError where a class has fewer images than shots, or the set fewer than labels."""
    fewest, name = images.smallest()
    if fewest < max(1, *plan.shots):
        raise ArtifactError(
            f"--data {images.name}: expected {max(1, *plan.shots)} training images of each class, for as many shots, "
            f"got {fewest} of {name!r}; ask for fewer with --shots, or leave the class out"
        )
    count = images.manifest.count("train")
    if count == len(images.classes):
        raise ArtifactError(
            f"--data {images.name}: expected two training images of some class, to validate on, got one of each"
        )
    if plan.scaling and count < ENOUGH:
        raise ArtifactError(
            f"--data {images.name}: expected {ENOUGH} training images for a curve of {POINTS} points, got {count}"
        )
    if plan.labels and max(plan.labels) > count:
        raise ArtifactError(
            f"--data {images.name}: expected {max(plan.labels)} training images, for as many labels, got {count}; ask "
            "for fewer with --labels"
        )
