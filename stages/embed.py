"""Turn every image into one unit vector, with the pretrained backbone."""

from pathlib import Path

from pipeline.base.params import Params
from pipeline.embed.run import run
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--backbone", DATA / "pretrain")
@path_option("--out", DATA / "embed")
def main(params: Params, ingest: Path, backbone: Path, out: Path) -> None:
    run(params, ingest, backbone, out)


if __name__ == "__main__":
    main()
