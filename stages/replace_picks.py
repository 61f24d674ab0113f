"""Ask for other images in place of the picks that are marked [skip], [none] or [unusable] in the labels.

It notes them in data/rounds/skipped.csv. After it `dvc repro` keeps the other picks, with their labels, and adds the
next best ones at the end. The images that are noted are never picked again; take a row out of the file to undo that.
"""

from pathlib import Path

import click

from pipeline.base.errors import ParamsError
from pipeline.base.params import Params
from pipeline.base.typed import here
from pipeline.replace_picks import replace_picks
from stages.cli import DATA, command, path_option


@command(__doc__)
@path_option("--missing", DATA / "label/missing.csv")
@path_option("--out", DATA / "rounds")
def main(params: Params, missing: Path, out: Path) -> None:
    labelled = params.lookup("select.labelled")
    if labelled != str(out):
        raise ParamsError(f"{params.where}: select.labelled: expected {out}, for select to read it, got {labelled}")
    file, count = replace_picks(missing, out)
    again = here().again
    click.echo(f"{file}: {count} more picks are to be replaced; `{again}` picks others")


if __name__ == "__main__":
    main()
