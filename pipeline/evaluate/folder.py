"""Predictions for all images below a folder, a batch at a time: the table that `predict` writes."""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy import ndarray
from tqdm import tqdm

from pipeline.artifacts.predictions import Ranking, columns, top
from pipeline.base.errors import SourceError
from pipeline.base.files import write_csv
from pipeline.ingest.files import look_below
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, decode, read_file

STATUS = 2  # place of the status among the cells of an image
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """How many files were given and could not be read, and of how many images the model is unsure."""

    files: int
    bad: int
    unsure: int

    def __str__(self) -> str:
        images = self.files - self.bad
        return f"{images:,} images, {self.unsure:,} of them unsure"


@dataclass(frozen=True)
class Table:
    """What a table of predictions holds beside the path: the most probable classes, and more on request."""

    most: int  # classes
    scores: bool  # the probability of every class
    unsure_below: float | None  # a confidence; None: the rule of `Ranking.statuses`

    def header(self, classes: Sequence[str]) -> list[str]:
        """The names of its columns; those of the scores are the classes'."""
        return ["path", *columns(self.most), *(f"p({name})" for name in classes if self.scores)]

    def rows(self, p: Float32[ndarray, "b k"], classes: Sequence[str]) -> list[list[str]]:
        """The cells of some images, less the path."""
        ranking = Ranking.of(*top(p, self.most), classes)
        cells = zip(ranking.cells(self.most), ranking.statuses(self.unsure_below), strict=True)
        rows = [[name, confidence, status, *others] for (name, confidence, *others), status in cells]
        if self.scores:
            rows = [[*row, *(f"{value:.9g}" for value in own)] for row, own in zip(rows, p.tolist(), strict=True)]
        return rows


def predict_folder(
    images: Path,
    out: Path,
    model: Path,
    *,
    max_bad: int,
    most: int,
    scores: bool,
    unsure_below: float | None,
    batch_size: int,
) -> tuple[int, Counts]:
    """Writes the table of all images below a folder, but for one that lies there itself.

    Gives the channels of the model, and how many images it was. Raises SourceError where there are none, and, when the
    others are written, where more than `max_bad` cannot be read.
    """
    found = look_below(images)
    found.say_passed_over(images, [out])
    files = [file for file in found.images if file.resolve() != out.resolve()]
    if not files:
        raise SourceError(f"{images}: expected images, found none")
    log.info("predict: %d files to read", len(files))
    net = Classifier.read(model).to(Device.choose("fp32").device)
    table = Table(min(most, len(net.classes)), scores, unsure_below)
    counts = predict_files(net, files, images, out, batch_size, table)
    if counts.bad > max_bad:
        expected = f"expected at most {max_bad} files that cannot be read (--max-bad)"
        raise SourceError(f"{images}: {expected}, got {counts.bad}; {out} holds the other {len(files) - counts.bad}")
    return net.channels, counts


def predict_files(
    model: Classifier, files: Sequence[Path], root: Path, out: Path, batch_size: int, table: Table
) -> Counts:
    """Writes path (below `root`) and what the table holds of each file.

    Each that cannot be read is named on stderr, with the reason. Raises SourceError where no file can be read.
    """
    bad, unsure, batch_size = 0, 0, model.images_a_pass(batch_size)

    def read(file: Path) -> UInt8[ndarray, "c h w"] | str:
        try:
            return decode(read_file(file), model.channels, model.size)
        except BadImage as error:
            return str(error)

    def rows() -> Iterator[list[str]]:
        nonlocal bad, unsure
        rest = iter(files)
        with tqdm(total=len(files), desc="predict", disable=None, unit=" images") as bar:
            while part := list(islice(rest, batch_size)):
                images = {}
                for file, pixels in zip(part, map_in_order(read, part), strict=True):
                    if isinstance(pixels, str):
                        bad += 1
                        tqdm.write(f"{file}: {pixels}", file=sys.stderr)
                    else:
                        images[file.relative_to(root).as_posix()] = pixels
                if images:
                    p = model.probabilities(torch.from_numpy(np.stack(list(images.values()))), batch_size)["label"]
                    cells = table.rows(p.numpy(), model.classes)
                    unsure += sum(row[STATUS] == "unsure" for row in cells)
                    yield from ([path, *row] for path, row in zip(images, cells, strict=True))
                bar.update(len(part))
        if bad == len(files):
            raise SourceError(f"{root}: expected images, none of the {len(files)} files can be read")

    write_csv(out, table.header(model.classes), rows())
    return Counts(len(files), bad, unsure)
