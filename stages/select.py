"""Choose which images to label, from their vectors alone.

In the chain it reads data/embed/train and writes data/select. With --vectors it takes any matrix of floats: .npy, .npz,
.parquet with a list column, or a folder of such files. Row numbers are the keys, unless a Parquet has a column key; the
rows are taken as they are, not brought to unit length. Vectors of more than machine.vectors_mb stay on disk: .npy only.
"""

from pathlib import Path

import click

from pipeline.base.params import Params
from pipeline.select.run import run
from stages.cli import DATA, command, path_option

FILE = click.Path(path_type=Path)
OUT_HELP = "A folder for picks.csv and record.json; or a file that ends in .csv, for the picks alone."


@command(__doc__)
@path_option("--embeddings", DATA / "embed/train")
@click.option("--vectors", type=FILE, help="A matrix, in place of --embeddings.")
@click.option("--attributes", type=FILE, help="A Parquet or CSV: key, group, cost.  [ingest's own]")
@click.option("--out", type=FILE, default=DATA / "select", show_default=True, help=OUT_HELP)
def main(params: Params, embeddings: Path, vectors: Path | None, attributes: Path | None, out: Path) -> None:
    click.echo(run(params, embeddings, vectors, attributes, out))


if __name__ == "__main__":
    main()
