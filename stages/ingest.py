"""Bring a source of images into shards, with an index and, apart from both, the answers."""

import logging
from pathlib import Path
from typing import Any

import click

from pipeline.base.params import Params
from pipeline.ingest.run import IngestParams, ingest
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.remote_tars import RemoteTars
from pipeline.ingest.sources.shards import Shards
from pipeline.shards.remote.download import Reading
from stages.cli import DATA, command, write_log

log = logging.getLogger(__name__)


@command(__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "ingest", show_default=True)
def main(params: Params, out: Path) -> None:
    """Reads the source that `ingest.source` names; the shards go below `ingest.shards_dir`."""
    own = params.stage("ingest", IngestParams, SOURCES)
    name = params.method("ingest.source", SOURCES)
    source = params.block(f"ingest.{name}", SOURCES[name])
    if isinstance(source, Shards) and source.behind_urls:
        source = RemoteTars(path=source.path, look=source.look, reading=params.block("reading", Reading))
    about: dict[str, Any] = {}
    with write_log(out.parent, "ingest", about):
        manifest, about["images"], about["bytes"] = ingest(own, source, params.seed, out)
    counts = ", ".join(f"{manifest.count(split)} to {split}" for split in manifest.splits)
    height, width = manifest.size
    log.info(
        "ingest: %s: %s; %s, %d x %d; %d left out",
        name, counts, "grey" if manifest.channels == 1 else "rgb", height, width, len(manifest.bad),
    )  # fmt: skip


if __name__ == "__main__":
    main()
