"""A study of a run: computes what is missing of the grid, and writes its table and its page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base.errors import ParamsError
from pipeline.base.files import whole_file, write_csv
from pipeline.base.params import Params, near
from pipeline.base.records import Record, Work, digest_of, measure
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool
from pipeline.study.grid import RANDOM, Grid, Group
from pipeline.study.score import PROBE, Data, Scorer, values_of
from pipeline.study.table import HEADER, Row, page, rows
from pipeline.train.methods import METHODS, PROPAGATE

WITHOUT_MODEL = tuple(name for name, selector in SELECTORS.items() if not selector.needs_outputs)


def study(params: Params, grid: Grid, folder: Path) -> list[Row]:
    """Writes `study/study.csv`, `study/study.md` and a record a case below `folder`, which holds the stages' folders.

    Selectors are given vectors alone, without rules, costs or an audit; the answers of the picks are their labels.
    Raises ParamsError for a name that is none, or a selector that needs the model of an earlier round.
    """
    refuse("selector", grid.selectors, WITHOUT_MODEL)
    refuse("method", grid.methods, (PROPAGATE, PROBE, *METHODS))
    if min(grid.budgets) < 1:
        raise ParamsError(f"study: expected budgets of at least 1, got {min(grid.budgets)}")
    if grid.seeds < 2:
        raise ParamsError(f"study: expected 2 seeds or more, got {grid.seeds}")
    data = Data.read(folder)
    if max(grid.budgets) > len(data.y):
        most = len(data.y)
        raise ParamsError(f"study: expected budgets of at most {most}, the training images, got {max(grid.budgets)}")
    block = params.stage("select", SelectParams, SELECTORS)
    search, rules = block.search, {name: value for name, value in block.rules.model_dump().items() if value}
    if rules:
        raise ParamsError(f"study: expected no select.rules, as selectors are compared without them, got {rules}")
    pool = Pool.of(data.train.vectors, search)
    selectors = {name: params.block(f"select.{name}", SELECTORS[name]) for name in {*grid.selectors, RANDOM}}

    def pick(group: Group) -> Int64[ndarray, " b"]:
        return np.sort(selectors[group.selector].select(pool, group.budget, group.seed).rows)

    scorer, of_data = Scorer(data, data.neighbours(), params), data.digest
    of_selector = {
        name: digest_of(of_data, block.model_dump(), search.model_dump()) for name, block in selectors.items()
    }
    of_method = {method: values_of(method, params, folder) for method in grid.methods}

    def name(group: Group, method: str) -> str:
        digest = f"{of_selector[group.selector]}{of_method[method]}"
        return f"{group.selector}-{group.budget}-{group.seed}-{method}-{digest}.json"

    def say(group: Group, method: str, record: Record) -> str:
        case = f"{group.selector}, {group.budget} labels, seed {group.seed}, {method}"
        return f"{case}: {100 * record['top1']:.1f} %"

    work = Work[Group, Int64[ndarray, " b"]](
        share=pick,
        shared="pick_seconds",
        score=lambda rows, group, method: scorer.score(method, rows, group.seed),
        name=name,
        fields=("top1", "classes"),
        kinds=lambda group, method: (group.selector, method),
        say=say,
    )
    records = measure(grid.groups(len(data.y)), grid.methods, work, folder / "study/records")
    found = rows(records)
    write_csv(folder / "study/study.csv", HEADER, [row.cells() for row in found])
    about = {
        "images": f"{len(data.y):,} to pick from, {len(data.truth):,} test images, {len(data.names)} classes",
        "vectors": f"{data.train.vectors.shape[1]} numbers",
        "seeds": grid.seeds,
    }
    with whole_file(folder / "study/study.md") as part:
        part.write_text(page(found, records, about), encoding="utf-8")
    return found


def refuse(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raises ParamsError for the first name that is none of the known ones."""
    for name in names:
        if name not in known:
            why = ", which needs the model of an earlier round" if name in SELECTORS else near(name, known)
            raise ParamsError(f"study: {kind}: expected one of {', '.join(known)}, got {name!r}{why}")
