"""What all stage commands share: the options `--params` and `--set`, and errors as one line with exit code 1."""

import functools
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from pipeline.base.errors import PipelineError
from pipeline.base.params import Params
from pipeline.base.typed import home

DATA = Path("data")  # each stage's folder below it bears the stage's name
# Below DATA, what a temporary checkout lacks: folders that stages write beside their outputs, a person's files that git
# does not know, and labels that may not be in git yet.
LINKED = ("cache", "raw", "shards", "rounds/outputs", "images/*", "teacher/*", "backbone/*", "previous/*")
COPIED = ("annotations/*", "rounds/*")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """The body of every command: its log goes to stderr, and a user's mistake ends it with one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it logs libraries that it does without as errors
    try:
        yield
    except (PipelineError, OSError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    except (MemoryError, RuntimeError) as error:
        # torch raises RuntimeError for all that goes wrong; want of memory is the only one that a user can cause.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        message = f"out of memory: {lines[0]}; expected less: a smaller batch_size, ingest.size or network"
        raise click.ClickException(message) from error


def bring_from_home() -> None:
    """In a temporary checkout of `dvc exp run --temp` or `--queue`, brings what neither git nor DVC has put there."""
    run = home(Path.cwd())
    if run == Path.cwd():
        return
    (run / DATA / "shards").mkdir(parents=True, exist_ok=True)  # shards of a temporary checkout are to outlive it
    for pattern in (*LINKED, *COPIED):
        for path in (run / DATA).glob(pattern):
            here = path.relative_to(run)
            if here.exists():
                continue
            here.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # of several processes one is the first
                if pattern in LINKED:
                    here.symlink_to(path)
                elif path.is_dir():
                    shutil.copytree(path, here)
                else:
                    shutil.copy(path, here)


def command(doc: str | None) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a click command of a function whose first argument is the `Params` of the run."""

    def wrap(body: Callable[..., None]) -> click.Command:
        @click.option(
            "--params", "file", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True
        )
        @click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Lay a value over params.yaml.")
        @functools.wraps(body)
        def run(file: Path, sets: tuple[str, ...], **options: Any) -> None:
            with one_line_errors():
                bring_from_home()
                body(Params.read(file, sets), **options)

        return click.command(help=doc)(run)

    return wrap


save_seconds_option = click.option(
    "--save-seconds", type=float, default=30.0, show_default=True, help="How often the state to resume from is saved."
)


def path_option(name: str, default: Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that names a file or folder of the chain."""
    return click.option(name, type=click.Path(path_type=Path), default=default, show_default=True)
