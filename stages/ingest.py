"""Bring a source of images into shards, with an index and, apart from both, the answers."""

import logging
from pathlib import Path
from typing import Any

import click

from pipeline.base.log import write_log
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.ingest.run import IngestParams, ingest
from pipeline.ingest.sources import SOURCES, source_of
from stages.cli import DATA, command

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
def main(params: Params, out: Path) -> None:
    """Reads the source that `ingest.source` names; the shards go below `ingest.shards_dir`."""
    about: dict[str, Any] = {}
    with write_log(out.parent, "ingest", about):
        block, ray = params.stage("ingest", IngestParams, SOURCES), params.block("machine", Machine).ray
        ingested = ingest(block, source_of(params), params.seed, out, ray)
        about.update(images=ingested.images, bytes=ingested.bytes)
    log.info("ingest: %s", ingested)


if __name__ == "__main__":
    main()
