"""Get labels for the picks: from the answers that came with the images, or from a person.

Labels of finished rounds (data/rounds) join those of the picks. With --serve nothing is computed: the page that is
there comes from a small server on this machine, which saves each label at once.
"""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.label.run import LABELLERS, LabelParams, label
from stages.cli import DATA, command


@command(__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
@click.option("--select", type=click.Path(path_type=Path), default=DATA / "select", show_default=True)
@click.option("--rounds", type=click.Path(path_type=Path), default=DATA / "rounds", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "label", show_default=True)
@click.option("--serve", is_flag=True, help="Serve the page, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the server; 0 is any free one.")
def main(params: Params, ingest: Path, select: Path, rounds: Path, out: Path, serve: bool, port: int) -> None:
    name = params.method("label.source", LABELLERS)
    block, reading = params.stage("label", LabelParams, LABELLERS), params.block("machine", Machine).reading
    source = params.block(f"label.{name}", LABELLERS[name])
    if serve:
        from pipeline.label.server import serve_run  # the stage itself needs none

        serve_run(ingest, select, out, DATA / "report", block, source, reading, port, click.echo)
        return
    labels = label(ingest, select, rounds, out, block, source, reading)
    coarse = sum(not names[0] for names in labels.rows.values())
    click.echo(f"{name}: {len(labels.rows)} labels" + (f", {coarse} of them coarse" if coarse else ""))


if __name__ == "__main__":
    main()
