"""Train a classifier on the few labels and all the other images."""

from pathlib import Path

from pipeline.base.params import Params
from pipeline.train.run import run
from stages.cli import DATA, command, path_option, save_seconds_option


@command(__doc__)
@path_option("--ingest", DATA / "ingest")
@path_option("--labels", DATA / "label/labels.csv")
@path_option("--backbone", DATA / "pretrain")
@path_option("--embed", DATA / "embed")
@path_option("--graph", DATA / "graph")
@path_option("--out", DATA / "train")
@save_seconds_option
def main(params: Params, save_seconds: float, **paths: Path) -> None:
    run(params, **paths, save_seconds=save_seconds)


if __name__ == "__main__":
    main()
