"""Lay out a folder of its own for a run: the code, the graphs, and params.yaml with presets and values laid over it.

What the run makes stays in that folder. Laid out again, it takes the new code and params and keeps its data, so that
`dvc repro` there runs what has changed.
"""

import subprocess
from pathlib import Path

import click

from pipeline.base.errors import PipelineError
from pipeline.new_run import new_run


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--preset", "presets", multiple=True, type=click.Path(path_type=Path), help="YAML laid over params.yaml.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Lay a value over params.yaml.")
@click.option("--git", is_flag=True, help="Make the folder a git repository, which `dvc exp` needs.")
def main(folder: Path, presets: tuple[Path, ...], sets: tuple[str, ...], git: bool) -> None:
    try:
        new_run(folder, presets, sets, git=git)
    except (PipelineError, OSError, UnicodeDecodeError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"cd {folder} && dvc repro")


if __name__ == "__main__":
    main()
