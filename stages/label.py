"""Get labels for the picks, from their answers or from a person; those of finished rounds (data/rounds) join them."""

from pathlib import Path

import click

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.label.run import LABELLERS, LabelParams, label
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--select", DATA / "select")
@path_option("--rounds", DATA / "rounds")
@path_option("--embed", DATA / "embed")
@path_option("--graph", DATA / "graph")
@path_option("--out", DATA / "label")
@click.option("--serve", is_flag=True, help="Serve the page that is there, and save each label at once; until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the server; 0 is as before, or any.")
def main(
    params: Params, ingest: Path, select: Path, rounds: Path, out: Path, serve: bool, port: int, **graph: Path
) -> None:
    block, reading = params.stage("label", LabelParams, LABELLERS), params.block("machine", Machine).reading
    name = params.method("label.source", LABELLERS)
    source = params.block(f"label.{name}", LABELLERS[name])
    if serve:
        from pipeline.label.server import serve_run  # the stage itself needs none

        return serve_run(ingest, select, out, DATA / "report", block, source, reading, port, click.echo)
    from pipeline.label.graph import Graph  # takes seconds to load, which the server need not wait for

    labels = label(ingest, select, rounds, out, block, source, reading, Graph.of(params, rounds=rounds, **graph).around)
    coarse = sum(not names[0] for names in labels.rows.values())
    return click.echo(f"{name}: {len(labels.rows)} labels" + (f", {coarse} of them coarse" if coarse else ""))


if __name__ == "__main__":
    main()
