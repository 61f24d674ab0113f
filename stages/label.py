"""Get labels for the picks: from the answers that came with the images, or from a person.

Those of data/rounds join them. With --serve a server shows the page that is there, and saves each label at once.
"""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.graph.propagation import PropagateParams
from pipeline.label.run import LABELLERS, LabelParams, label
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--select", DATA / "select")
@path_option("--rounds", DATA / "rounds")
@path_option("--embed", DATA / "embed")
@path_option("--graph", DATA / "graph")
@path_option("--out", DATA / "label")
@click.option("--serve", is_flag=True, help="Serve the page, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the server; 0 is any free one.")
def main(params: Params, ingest: Path, select: Path, out: Path, serve: bool, port: int, **more: Path) -> None:
    block, reading = params.stage("label", LabelParams, LABELLERS), params.block("machine", Machine).reading
    name = params.method("label.source", LABELLERS)
    source, spreading = params.block(f"label.{name}", LABELLERS[name]), params.block("train.propagate", PropagateParams)
    if serve:
        from pipeline.label.server import serve_run  # the stage itself needs none

        return serve_run(ingest, select, out, DATA / "report", block, source, reading, port, click.echo)
    labels = label(block, source, spreading, reading, ingest=ingest, select=select, out=out, **more)
    coarse = sum(not names[0] for names in labels.rows.values())
    return click.echo(f"{name}: {len(labels.rows)} labels" + (f", {coarse} of them coarse" if coarse else ""))


if __name__ == "__main__":
    main()
