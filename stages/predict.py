"""Label every image below a folder with the trained model: path, class, confidence, predicted or unsure.

Files of other kinds are passed over. One that cannot be read is named on stderr with the reason, and the exit code is 1
if there are more of them than --max-bad allows. `unsure` is a confidence below one half, or less than twice that of the
next class; with --abstain 0.9 one below which less than 90 % of the labels are right.
"""

from pathlib import Path
from typing import Any

import click

from pipeline.artifacts.predictions import TOP
from pipeline.evaluate.abstain import threshold
from pipeline.evaluate.folder import predict_folder
from pipeline.report.predicted import write_gallery
from stages.cli import DATA, one_line_errors, path_option


@click.command(help=__doc__)
@click.option("--images", type=click.Path(path_type=Path), required=True, help="A folder of images, at any depth.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The CSV to write.")
@path_option("--model", DATA / "train")
@click.option("--max-bad", type=click.IntRange(0), default=0, show_default=True, help="Unreadable images, at most.")
@click.option("--top", "most", type=click.IntRange(1), default=TOP, show_default=True, help="Classes an image.")
@click.option("--scores", is_flag=True, help="Add a column for every class, with its probability.")
@click.option("--abstain", type=click.FloatRange(0, 1, min_open=True), help="The accuracy of images that get a class.")
@click.option("--gallery", type=click.Path(path_type=Path), help="A page that shows the images, to filter.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
def main(images: Path, out: Path, model: Path, abstain: float | None, gallery: Path | None, **wanted: Any) -> None:
    with one_line_errors():
        least = threshold(model, abstain) if abstain else None
        channels, counts = predict_folder(images, out, model, unsure_below=least and least.confidence, **wanted)
        click.echo(f"predict: {out}: {counts}" + (f"; {least}" if least else ""))
        if gallery:
            write_gallery(out, images, channels, gallery)


if __name__ == "__main__":
    main()
