"""Export the picks without a label, with guesses, as a folder that a tool for labelling takes.

The images of an audit are in it too, without a guess. What comes back goes through `python -m stages.import_labels`.
"""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.exchange.export import export
from pipeline.exchange.formats import FORMATS
from pipeline.exchange.known import Known
from pipeline.label.graph import Graph
from pipeline.label.person import FileParams
from pipeline.label.run import LABELLERS, LabelParams
from stages.cli import DATA, command, path_option


@command(__doc__)
@click.option("--format", "form", type=click.Choice([*FORMATS]), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make.")
@path_option("--ingest", DATA / "ingest")
@path_option("--select", DATA / "select")
@path_option("--rounds", DATA / "rounds")
@path_option("--embed", DATA / "embed")
@path_option("--graph", DATA / "graph")
@path_option("--guesses", DATA / "train/pseudo_labels.csv")
def main(params: Params, form: str, out: Path, ingest: Path, select: Path, guesses: Path, **around: Path) -> None:
    block, reading = params.stage("label", LabelParams, LABELLERS), params.block("machine", Machine).reading
    known = Known.read(ingest, around["rounds"], Path(params.block("label.file", FileParams).path), block.classes)
    asked = export(known, ingest, select, guesses, Graph.of(params, **around), FORMATS[form], out, block.audit, reading)
    click.echo(f"{out}: {len(asked)} images for {form}, {sum(bool(one.guess) for one in asked)} of them with a guess")


if __name__ == "__main__":
    main()
