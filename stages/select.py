"""Choose which images to label, from their vectors alone.

In the chain it reads data/embed/train and writes data/select. With --vectors it takes any matrix of floats, whose row
numbers are the keys; the rows are taken as they are, not brought to unit length.
"""

import logging
from contextlib import nullcontext
from pathlib import Path

import click
import numpy as np

from pipeline.artifacts import Embeddings, Selection, read_vectors
from pipeline.errors import ParamsError
from pipeline.files import sha256, whole_folder, write_json
from pipeline.params import Params
from pipeline.select import SELECTORS, SelectParams, neighbours
from stages.cli import DATA, command, write_log

log = logging.getLogger(__name__)
OUT_HELP = "A folder for picks.csv and record.json; or a file that ends in .csv, for the picks alone."


@command(__doc__)
@click.option("--embeddings", type=click.Path(path_type=Path), default=DATA / "embed/train", show_default=True)
@click.option("--vectors", type=click.Path(path_type=Path), help="A .npy matrix, in place of --embeddings.")
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "select", show_default=True, help=OUT_HELP)
def main(params: Params, embeddings: Path, vectors: Path | None, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    method = params.method("select.method", SELECTORS)
    common = params.stage("select", SelectParams, SELECTORS)
    selector = params.block(f"select.{method}", SELECTORS[method])
    seed = params.seed
    if vectors is None:
        table = Embeddings.read(embeddings)
        file, keys, x = embeddings / "vectors.npy", table.keys, table.vectors
    else:
        file, x = vectors, read_vectors(vectors)
        keys = [str(row) for row in range(len(x))]
        length = np.linalg.norm(x, axis=1)
        log.info("vectors of length %.4g to %.4g, taken as they are", length.min(), length.max())
    if common.budget > len(x):
        where = f"{params.where}: select.budget"
        raise ParamsError(f"{where}: expected at most {len(x)}, the rows of {file}, got {common.budget}")
    logged = vectors is None and out.suffix != ".csv"  # only then does `out` lie in a data folder
    with write_log(out.parent, "select", {"images": len(x)}) if logged else nullcontext():
        picks = selector.select(x, common.budget, seed)
    selection = Selection([keys[row] for row in picks.rows], picks.scores)
    if out.suffix == ".csv":
        selection.write(out)
    else:
        about = {"method": method, "params": selector.model_dump(), "budget": common.budget, "seed": seed}
        about |= {"n": x.shape[0], "d": x.shape[1], "vectors_sha256": sha256(file)}
        about["neighbours"] = "exact" if hasattr(selector, "neighbours") else None
        about["versions"] = {"numpy": np.__version__, "faiss": neighbours.version()}
        with whole_folder(out) as part:
            selection.write(part / "picks.csv")
            write_json(part / "record.json", about)
    click.echo(f"{method}: {len(picks.rows)} of {len(x)} images")


if __name__ == "__main__":
    main()
