"""Compare finished runs: a short table, and a page with paired differences, picks and learning curves.

A RUN is a run's folder, or FOLDER@NAME for its DVC experiment (or git revision) of that name. The first one is what the
others are held against.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from pipeline.compare.inputs import FILES, ROUNDS, Run
from pipeline.compare.run import compare
from stages.cli import one_line_errors
from stages.revision import fetched


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("compare.html"), show_default=True)
def main(runs: tuple[str, ...], out: Path) -> None:
    with one_line_errors(), TemporaryDirectory() as folder:
        found = []
        for number, name in enumerate(dict.fromkeys(runs)):
            home, at, revision = name.rpartition("@")
            if at and not Path(name).is_dir():
                files = fetched(Path(home), revision, FILES, ROUNDS, Path(folder, str(number)))
                found.append(Run.read(name, files, Path(home).resolve()))
            else:
                found.append(Run.read(name, Path(name), Path(name).resolve()))
        click.echo(compare(found, out))
        click.echo(f"the page: {out}")


if __name__ == "__main__":
    main()
