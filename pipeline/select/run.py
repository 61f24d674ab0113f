"""The stage `select`: the picks of the selector in use, and a record of how they came about."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.model_outputs import OUTPUTS, ModelOutputs
from pipeline.artifacts.on_disk import Parts
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.vectors import megabytes
from pipeline.base.errors import ParamsError
from pipeline.base.files import sha256, whole_folder, write_json
from pipeline.base.log import write_log
from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.select.inputs import (
    GroupsAndCosts,
    audited_rows,
    labelled_rows,
    read_embeddings,
    read_matrix,
    skipped_rows,
)
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Outputs, Pool
from pipeline.select.quality import quality
from pipeline.select.replaced import choose_others
from pipeline.select.rules import choose
from pipeline.select.selector import Picks
from pipeline.select.taken import without
from pipeline.vectors import clustering

log = logging.getLogger(__name__)
INGESTED = Path("data/ingest/attributes.parquet")
FROM_ATTRIBUTES = "come from ingest.attributes, with --vectors from --attributes"


def run(params: Params, embeddings: Path, vectors: Path | None, attributes: Path | None, out: Path) -> str:
    """Writes picks and record into the folder `out`, or picks alone to `out` if it ends in .csv; returns a line."""
    method = params.method("select.method", SELECTORS)
    block = params.stage("select", SelectParams, SELECTORS)
    selector = params.block(f"select.{method}", SELECTORS[method])
    file, limit = vectors or embeddings, params.block("machine", Machine).vectors_mb
    matrix = vectors or embeddings / "vectors.npy"
    mb = megabytes(matrix) if vectors or matrix.is_file() else 0  # reading says that a file is missing
    on_disk = mb > limit
    if on_disk:
        why = f"as {file} takes {mb:.0f} MB as float32 and machine.vectors_mb is {limit}"
        _refuse_out_of_core(params.where, method, block, why)
        attributes = None  # only rules and costs need them
    elif vectors is None and attributes is None and INGESTED.is_file():
        attributes = INGESTED
    read = read_embeddings if vectors is None else read_matrix
    keys, x = read(file, on_disk=on_disk)
    known, labelled = labelled_rows(Path(block.labelled), keys, bare=vectors is not None)
    skipped_before, skipped = skipped_rows(Path(block.labelled), keys)
    audit = params.lookup("label.audit") if vectors is None else 0
    if type(audit) is not int or audit < 0:
        raise ParamsError(f"{params.where}: label.audit: expected a whole number of at least 0, got {audit!r}")
    audited = audited_rows(Path(block.labelled), keys, known, audit)
    pool = without(Pool.of(x, block.search, labelled), np.concatenate([skipped_before, audited]))
    if selector.needs_outputs:
        outputs = ModelOutputs.read(Path(block.labelled) / OUTPUTS, keys)
        if outputs is not None:
            pool = replace(pool, outputs=Outputs(outputs.features.vectors, outputs.weight, outputs.bias))
    about = GroupsAndCosts.read(attributes, keys)
    _refuse(params.where, block, file, pool, about)
    logged = vectors is None and out.suffix != ".csv"  # only then does `out` lie in a data folder
    with write_log(out.parent, "select", {"images": len(x)}) if logged else nullcontext():

        def pick(pool: Pool, budget: int, max_cost: float) -> Picks:
            return choose(selector, pool, budget, params.seed, block.rules, about.group, about.cost, max_cost)

        picks = choose_others(skipped, pick, pool, block.budget, about.cost, block.max_cost)
        if len(picks.rows) == 0:
            raise ParamsError(
                "select.rules: expected an image that may be picked, found none: each has a label, is near one that "
                "has, was skipped, is an outlier, is of a full group or costs more than select.max_cost"
            )
        copies = len(picks.rows) - len(np.unique(x[np.sort(picks.rows)], axis=0))
        if copies:
            log.warning(
                "select: %d of %d picks are copies of others, by their vectors; "
                "select.rules.min_distance above 0 keeps them apart",
                *(copies, len(picks.rows)),
            )
        selection = Selection([keys[row] for row in picks.rows.tolist()], picks.scores)
        spent = float(about.cost[picks.rows].sum())
        if out.suffix == ".csv":
            selection.write(out)
        else:
            record = {
                "method": method,
                "params": selector.model_dump(),
                "seed": params.seed,
                "select": block.model_dump(exclude={"method"}),
                "picks": len(picks.rows),
                "cost": _six_digits(spent),
                "found": {name: _six_digits(value) for name, value in picks.about.items()},
                "quality": quality(pool.space, picks.rows, pool.labelled, params.seed),
                "versions": {"numpy": np.__version__, "faiss": clustering.version()},
                "skipped_before": len(skipped_before),
                **_inputs(pool, known, attributes),
            }
            with whole_folder(out) as folder:
                selection.write(folder / "picks.csv")
                write_json(folder / "record.json", record)
    cost = f", cost {spent:g}{f' of {block.max_cost:g}' if block.max_cost else ''}" if about.has_costs else ""
    return f"{method}: {len(picks.rows)} of {len(x)} images{cost}"


def _refuse_out_of_core(where: str, method: str, block: SelectParams, why: str) -> None:
    """Refuses what cannot be done while the vectors stay on disk."""
    if not SELECTORS[method].out_of_core:
        names = ", ".join(sorted(name for name, selector in SELECTORS.items() if selector.out_of_core))
        raise ParamsError(f"{where}: select.method: expected one of {names}, {why}, got {method}")
    rules = {f"rules.{name}": value for name, value in block.rules.model_dump().items()}
    for name, value in {**rules, "max_cost": block.max_cost}.items():
        if value:
            raise ParamsError(f"{where}: select.{name}: expected 0, {why}, got {value:g}")


def _refuse(where: str, block: SelectParams, file: Path, pool: Pool, about: GroupsAndCosts) -> None:
    """Refuses more picks than there are images, a limit of costs without costs, and a cap on groups without groups."""
    num_free = int(pool.free.sum())
    if block.budget > num_free:
        expected = f"at most {num_free}, the images of {file} without a label"
        hint = "; what their labels may cost together is select.max_cost" if about.has_costs else ""
        raise ParamsError(f"{where}: select.budget: expected {expected}, got {block.budget}{hint}")
    if block.max_cost and not about.has_costs:
        expected = f"0, as no costs are given, got {block.max_cost:g}; costs {FROM_ATTRIBUTES}"
        raise ParamsError(f"{where}: select.max_cost: expected {expected}")
    if block.rules.group_most and about.group.max() < 0:
        expected = f"0, as no image has a group, got {block.rules.group_most}; groups {FROM_ATTRIBUTES}"
        raise ParamsError(f"{where}: select.rules.group_most: expected {expected}")


def _inputs(pool: Pool, known: Sequence[str], attributes: Path | None) -> dict[str, Any]:
    x, outputs = pool.space.rows, pool.outputs
    return {
        "n": x.shape[0],
        "d": x.shape[1],
        "labelled_before": len(known),
        "labelled_before_sha256": _digest("\n".join(sorted(known)).encode()),
        "vectors_sha256": x.survey.sha256 if isinstance(x, Parts) else _digest(np.ascontiguousarray(x).data),
        "attributes_sha256": None if attributes is None else sha256(attributes),
        "outputs_sha256": None if outputs is None else _digest(outputs.features.data),
    }


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _six_digits(value: Any) -> Any:
    """A float to six digits, as those beyond are rounding; other values as they are."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
