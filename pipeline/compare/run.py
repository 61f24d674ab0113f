"""Writes the page of a comparison."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from string import ascii_uppercase

from pipeline import report
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.files import whole_file
from pipeline.base.pages import environment
from pipeline.compare import table
from pipeline.compare.curve import curve
from pipeline.compare.inputs import Run
from pipeline.shards.pictures import Picture, pictures

SHOWN = 24  # picks of each run whose pictures are on the page
SIDE = 96  # pixels of a picture's longer side, at most


def compare(runs: Sequence[Run], out: Path) -> str:
    """Writes the page, and gives the table for a terminal. Raises ParamsError for fewer than two runs or too many."""
    if not 2 <= len(runs) <= len(ascii_uppercase):
        raise ParamsError(f"expected 2 to {len(ascii_uppercase)} runs to compare, got {len(runs)}")
    env = environment([Path(__file__).parent, *report.__path__])  # one style sheet for both pages
    letters = dict(zip((run.name for run in runs), ascii_uppercase, strict=False))
    page = env.get_template("compare.html").render(
        runs=runs,
        letter=letters,
        rows=table.rows(runs),
        pairs=table.pairs(runs),
        shared=shared(runs),
        classes=classes(runs),
        curve=curve(runs),
        shown={run.name: _pictures(run) for run in runs},
    )
    with whole_file(out) as part:
        part.write_text(page + "\n", encoding="utf-8")
    return table.text(runs)


def shared(runs: Sequence[Run]) -> list[list[int]]:
    """How many labelled images each run has in common with each."""
    return [[len(one.label.keys() & other.label.keys()) for other in runs] for one in runs]


def classes(runs: Sequence[Run]) -> list[tuple[str, list[int]]]:
    """How many labels each class has in each run; the classes with most of them first."""
    counts = [Counter(run.label.values()) for run in runs]
    names = sorted(set[str]().union(*counts), key=lambda name: (-sum(count[name] for count in counts), name))
    return [(name, [count[name] for count in counts]) for name in names]


def _pictures(run: Run) -> tuple[Mapping[str, Picture], str]:
    """The pictures of the first picks, best first, by key; or why there are none."""
    keys = run.picks[:SHOWN]
    data = run.folder / "data/ingest"
    try:
        manifest, index = Manifest.read(data / "manifest.json"), Index.read(data / "index.parquet")
        with chdir(run.home):
            found = pictures(manifest, index, keys, SIDE)
    except ArtifactError as error:  # of another machine, behind URLs, or gone: the figures stand without them
        return {}, str(error)
    return {key: found[key] for key in keys}, ""
