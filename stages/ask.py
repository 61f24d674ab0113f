"""Read the labels of a run as the stage `label` does, but end well where some are lacking: its page asks for them."""

import click

from pipeline.label.person import MissingLabels
from stages.label import main as label


@click.command(help=__doc__)
def main() -> None:
    try:
        label.main([], standalone_mode=False)
    except click.ClickException as error:
        if not isinstance(error.__cause__, MissingLabels):
            raise
        click.echo(f"label: {error.__cause__}")


if __name__ == "__main__":
    main()
