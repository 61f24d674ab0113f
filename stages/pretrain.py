"""Learn a backbone from the training images, without labels."""

from pathlib import Path

from pipeline.base.params import Params
from pipeline.pretrain.run import run
from stages.cli import DATA, command, path_option, save_seconds_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--out", DATA / "pretrain")
@save_seconds_option
def main(params: Params, ingest: Path, out: Path, save_seconds: float) -> None:
    run(params, ingest, out, save_seconds)


if __name__ == "__main__":
    main()
