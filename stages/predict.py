"""Label every image below a folder with the trained model: path, prediction, confidence.

Files of other kinds, by the ends of their names, are passed over. One that cannot be read is named on stderr with the
reason; the others are labelled all the same, but the exit code is 1 if there are more of them than --max-bad allows.

With --abstain 0.9 a column `status` says `unsure` below the confidence from which on 90 % of the labels are right.
"""

from pathlib import Path
from typing import Any

import click

from pipeline.artifacts.predictions import TOP
from pipeline.evaluate.abstain import threshold
from pipeline.evaluate.folder import predict_folder
from stages.cli import DATA, one_line_errors


@click.command(help=__doc__)
@click.option("--images", type=click.Path(path_type=Path), required=True, help="A folder of images, at any depth.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The CSV to write.")
@click.option("--model", type=click.Path(path_type=Path), default=DATA / "train", show_default=True)
@click.option("--max-bad", type=click.IntRange(0), default=0, show_default=True, help="Unreadable images, at most.")
@click.option(
    "--top", "most", type=click.IntRange(1), default=TOP, show_default=True, help="Classes of each image, at most."
)
@click.option("--scores", is_flag=True, help="Add a column for every class, with its probability.")
@click.option("--abstain", type=click.FloatRange(0, 1, min_open=True), help="The accuracy of images that get a class.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
def main(images: Path, out: Path, model: Path, max_bad: int, abstain: float | None, **wanted: Any) -> None:
    with one_line_errors():
        least = None if abstain is None else threshold(model, abstain)
        predict_folder(images, out, model, max_bad, unsure_below=least and least.confidence, **wanted)
        if least:
            click.echo(f"predict: {least}")


if __name__ == "__main__":
    main()
