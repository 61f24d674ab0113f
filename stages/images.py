"""Lay out a run for a folder of your own images: look at them, choose what fits, and say how long it will take.

What is chosen goes into params.yaml of the run, where it can be changed; then `dvc repro` there does the work.
"""

from pathlib import Path

import click

from pipeline.recipe.run import lay_out
from stages.cli import one_line_errors


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), required=True, help="The folder of images, at any depth.")
@click.option("--budget", type=click.IntRange(1), help="How many images to label.  [as before, 60 at first]")
@click.option("--preset", "presets", multiple=True, type=click.Path(path_type=Path), help="YAML laid over the rule's.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Lay a value over what is chosen.")
def main(folder: Path, images: Path, budget: int | None, presets: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    with one_line_errors():
        for line in lay_out(folder, images, budget, presets, sets):
            click.echo(line)


if __name__ == "__main__":
    main()
