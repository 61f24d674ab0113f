"""Find the nearest neighbours of every training image, by their vectors alone."""

from pathlib import Path

from pipeline.base.params import Params
from pipeline.graph.run import run
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--embeddings", DATA / "embed/train")
@path_option("--out", DATA / "graph")
def main(params: Params, embeddings: Path, out: Path) -> None:
    run(params, embeddings, out)


if __name__ == "__main__":
    main()
