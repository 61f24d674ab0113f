"""Choose which images to label, from their vectors alone.

In the chain it reads data/embed/train and writes data/select. With --vectors it takes any matrix of floats: .npy, .npz,
.parquet with a list column, or a folder of parts. Row numbers are the keys, unless a Parquet has a column key; the rows
are taken as they are, not brought to unit length. Vectors of more than select.resident_mb stay on disk: .npy alone.
"""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.embeddings import Embeddings, StoredEmbeddings
from pipeline.artifacts.model_outputs import OUTPUTS, ModelOutputs
from pipeline.artifacts.on_disk import Parts, RowNumbers
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import labelled_keys
from pipeline.artifacts.vectors import megabytes, read_keyed
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.files import sha256, whole_folder, write_json
from pipeline.base.params import Params
from pipeline.select import clustering
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Outputs, Pool
from pipeline.select.quality import quality
from pipeline.select.rules import choose
from stages.cli import DATA, command, write_log

log = logging.getLogger(__name__)
ROUNDS, INGESTED = DATA / "rounds", DATA / "ingest/attributes.parquet"
UNEVEN = 100  # times the median: a length beside which others blur
OUT_HELP = "A folder for picks.csv and record.json; or a file that ends in .csv, for the picks alone."


@command(__doc__)
@click.option("--embeddings", type=click.Path(path_type=Path), default=DATA / "embed/train", show_default=True)
@click.option("--vectors", type=click.Path(path_type=Path), help="A matrix, in place of --embeddings.")
@click.option(
    "--attributes", type=click.Path(path_type=Path), help="A Parquet or CSV: key, group, cost.  [ingest's own]"
)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "select", show_default=True, help=OUT_HELP)
def main(params: Params, embeddings: Path, vectors: Path | None, attributes: Path | None, out: Path) -> None:
    """See the module's docstring, which is the command's help."""
    method = params.method("select.method", SELECTORS)
    common = params.stage("select", SelectParams, SELECTORS)
    selector = params.block(f"select.{method}", SELECTORS[method])
    seed, labeled = params.seed, Path(common.labeled)
    if vectors is None:
        attributes = attributes or (INGESTED if INGESTED.is_file() else None)
    file = vectors or embeddings
    matrix = vectors or embeddings / "vectors.npy"
    mb = megabytes(matrix) if vectors or matrix.is_file() else 0  # who reads it says that it is missing
    on_disk = mb > common.resident_mb
    if on_disk:
        refuse_on_disk(params.where, method, common, attributes, f"{file} takes {mb:.0f} MB as float32")
        attributes = None  # groups without a rule for them change nothing
    keys, x = read(vectors, embeddings, on_disk=on_disk)
    known = labelled_keys(labeled) if vectors is None or labeled != ROUNDS or ROUNDS.is_dir() else []
    if vectors is not None and labeled == ROUNDS and not places(known, keys):
        known = []  # the chain's own rounds, and these are not its images
    pool = Pool.of(x, common.search, rows_of(known, keys, labeled))
    if selector.needs_outputs and (found := ModelOutputs.read(labeled / OUTPUTS, keys)) is not None:
        pool = replace(pool, outputs=Outputs(found.features.vectors, found.weight, found.bias))
    # Views of one number, or they would take more than all else where the vectors are on disk.
    group, cost = np.broadcast_to(np.int64(-1), len(x)), np.broadcast_to(1.0, len(x))
    if attributes is not None:
        about = Attributes.read(attributes, keys)
        names = {name: number for number, name in enumerate(sorted({*about.group} - {""}))} | {"": -1}
        group = np.array([names[name] for name in about.group])
        cost = cost if about.cost is None else about.cost
    priced = bool((cost != 1).any())
    refuse(params.where, common, float(cost.sum(where=pool.free)), file, grouped=group.max() >= 0, priced=priced)
    logged = vectors is None and out.suffix != ".csv"  # only then does `out` lie in a data folder
    with write_log(out.parent, "select", {"images": len(x)}) if logged else nullcontext():
        picks = choose(selector, pool, common.budget, seed, common.rules, group, cost)
        selection = Selection([keys[row] for row in picks.rows.tolist()], picks.scores)
        if out.suffix == ".csv":
            selection.write(out)
        else:
            record = {"method": method, "params": selector.model_dump(), "seed": seed}
            record |= {"select": common.model_dump(exclude={"method"}), "n": x.shape[0], "d": x.shape[1]}
            record |= {
                "picks": len(picks.rows),
                "cost": rounded(float(cost[picks.rows].sum())),
                "found": {name: rounded(value) for name, value in picks.about.items()},
            }
            record |= {
                "labelled_before": len(known),
                "labelled_before_sha256": digest("\n".join(sorted(known)).encode()),
            }
            record |= {
                "vectors_sha256": x.survey.sha256 if isinstance(x, Parts) else digest(np.ascontiguousarray(x).data)
            }
            record |= {"attributes_sha256": None if attributes is None else sha256(attributes)}
            record |= {"outputs_sha256": None if pool.outputs is None else digest(pool.outputs.features.data)}
            record |= {"quality": quality(pool.space, picks.rows, pool.labelled, seed)}
            record |= {"versions": {"numpy": np.__version__, "faiss": clustering.version()}}
            with whole_folder(out) as part:
                selection.write(part / "picks.csv")
                write_json(part / "record.json", record)
    spent = float(cost[picks.rows].sum())
    click.echo(f"{method}: {len(picks.rows)} of {len(x)} images{f', cost {spent:g} of {common.budget:g}' * priced}")


def read(
    vectors: Path | None, embeddings: Path, *, on_disk: bool
) -> tuple[Sequence[str], Float32[ndarray | Parts, "n d"]]:
    """Keys and vectors of the images."""
    if vectors is None:
        table = StoredEmbeddings.open(embeddings) if on_disk else Embeddings.read(embeddings)
        return table.keys, table.vectors
    if on_disk:
        parts = Parts.open(vectors)
        say_lengths(parts.survey.lengths)
        return RowNumbers(len(parts)), parts
    keys, x = read_keyed(vectors)
    say_lengths(np.linalg.norm(x, axis=1))
    return keys or RowNumbers(len(x)), x


def say_lengths(length: Float32[ndarray, " n"]) -> None:
    """Logs how long the vectors are, and what follows where they differ much."""
    log.info("vectors of length %.4g to %.4g, taken as they are", length.min(), length.max())
    if length.max() > UNEVEN * np.median(length):
        log.info("some are so long beside the others that copies of an image may not be told; unit length would help")


def rows_of(known: Sequence[str], keys: Sequence[str], file: Path) -> Int64[ndarray, " l"]:
    """The rows of the labelled keys; refuses a key that is none of the images."""
    row_of = places(known, keys)
    strange = next((key for key in known if key not in row_of), None)
    if strange is not None:
        raise ArtifactError(
            f"{file}: key {strange}: expected the key of an image to select from, as in keys.txt, got none of these"
        )
    return np.array(sorted(row_of[key] for key in known), np.int64)


def places(known: Sequence[str], keys: Sequence[str]) -> dict[str, int]:
    """The rows of those of the labelled keys that are keys of images."""
    wanted = set(known)
    return {key: row for row, key in enumerate(keys) if key in wanted} if wanted else {}


def refuse_on_disk(where: str, method: str, common: SelectParams, attributes: Path | None, why: str) -> None:
    """Refuses what cannot be done for vectors that stay on disk."""
    why = f", as {why} and select.resident_mb is {common.resident_mb}"
    if not SELECTORS[method].out_of_core:
        names = ", ".join(sorted(name for name, selector in SELECTORS.items() if selector.out_of_core))
        raise ParamsError(f"{where}: select.method: expected one of {names}{why}, got {method}")
    for name, value in common.rules.model_dump().items():
        if value:
            raise ParamsError(f"{where}: select.rules.{name}: expected 0{why}, got {value:g}")
    if attributes is not None and Attributes.priced(attributes):
        raise ParamsError(f"{attributes}: expected no costs{why}")


def refuse(where: str, common: SelectParams, most: float, file: Path, *, grouped: bool, priced: bool) -> None:
    """Refuses a budget that the images cannot meet, and a cap on groups where there are none."""
    if common.budget > most * (1 + 1e-9):
        expected = f"at most {most:g}, what all images of {file} without a label come to"
        raise ParamsError(f"{where}: select.budget: expected {expected}, got {common.budget:g}")
    if common.budget % 1 and not priced:
        expected = "a whole number of images, as no costs are given"
        raise ParamsError(f"{where}: select.budget: expected {expected}, got {common.budget:g}")
    if common.rules.group_most and not grouped:
        raise ParamsError(
            f"{where}: select.rules.group_most: expected 0, as no image has a group, got {common.rules.group_most}; "
            "groups come from ingest.attributes, with --vectors from --attributes"
        )


def digest(data: bytes | memoryview) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def rounded(value: object) -> object:
    """A float to six digits: what lies beyond is rounding's."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
