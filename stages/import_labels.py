"""Import labels from exports of Label Studio, CVAT, FiftyOne, COCO, a CSV or class folders into labels.csv.

Several people may answer an image: the class that most of them gave counts. Images without such a class, and those
with several classes, are left out and named. Guesses that nobody confirmed do not count.
"""

from pathlib import Path

import click

from pipeline.base.params import Params
from pipeline.exchange.formats import FORMATS
from pipeline.exchange.known import Known
from pipeline.exchange.take import take
from pipeline.label.person import FileParams
from pipeline.label.run import LABELLERS, LabelParams
from stages.cli import DATA, command, path_option


@command(__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice([*FORMATS]), default=None, help="Else by the content.")
@click.option("--replace", is_flag=True, help="New labels replace others of the same images.")
@path_option("--ingest", DATA / "ingest")
@path_option("--rounds", DATA / "rounds")
def main(params: Params, files: tuple[Path, ...], form: str | None, replace: bool, ingest: Path, rounds: Path) -> None:
    out = Path(params.block("label.file", FileParams).path)
    block = params.stage("label", LabelParams, LABELLERS)
    known = Known.read(ingest, rounds, out, block.classes)
    done = take(known, files, form or "", out, replace=replace)
    asks = "" if block.source == "file" else "; set label.source: file, for `label` to read them"
    click.echo(f"{out}: {done.new} new labels, {done.replaced} replaced, {done.same} there already{asks}")


if __name__ == "__main__":
    main()
