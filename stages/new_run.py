"""Lay out a folder of its own for a run: the code, the graphs, and params.yaml with presets and values laid over it.

What the run makes stays in that folder. Laid out again, it takes the new code and params and keeps its data, so that
`dvc repro` there runs what has changed.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from pipeline.base.errors import ParamsError, PipelineError
from pipeline.base.files import whole_file
from pipeline.base.params import overlay, parse_yaml

HOME = Path(__file__).parent.parent
MARK = ".run"  # an empty file that says that a folder was laid out here
WHOLE = ("second",)  # blocks that are replaced, not laid over: any of some other block's values
EMPTY = (
    "data/images",
    "data/annotations",
    "data/rounds",
    "data/teacher",
)  # folders of the graph for what a person brings


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--preset", "presets", multiple=True, type=click.Path(path_type=Path), help="YAML laid over params.yaml.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Lay a value over params.yaml.")
def main(folder: Path, presets: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """See the module's docstring, which is the command's help."""
    try:
        code = HOME.resolve(), *HOME.resolve().parents, HOME.resolve() / "pipeline", HOME.resolve() / "stages"
        if folder.resolve() in code:
            raise ParamsError(f"{folder}: expected a folder for a run, got one of the code's own")
        if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
            raise ParamsError(f"{folder}: expected a new folder or one laid out before, found other files in it")
        yaml = YAML()  # keeps the comments
        yaml.width = 1000
        params = yaml.load((HOME / "params.yaml").read_text(encoding="utf-8"))
        for preset in presets:
            merge(params, parse_yaml(preset.read_text(encoding="utf-8"), str(preset)), str(preset))
        for item in sets:
            overlay(params, item)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
        for package in ("pipeline", "stages"):
            shutil.rmtree(folder / package, ignore_errors=True)
            shutil.copytree(HOME / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name in EMPTY:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(HOME / name, folder / name)
        for file in sorted((HOME / "experiments").glob("*/*.yaml")):
            own = folder / file.relative_to(HOME)
            own.parent.mkdir(parents=True, exist_ok=True)
            if file.name == "dvc.yaml" or not own.exists():  # an experiment's params are the run's, once they are there
                shutil.copy(file, own)
        with whole_file(folder / "params.yaml") as part:
            yaml.dump(params, part)
        if not (folder / ".dvc").is_dir():
            subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    except (PipelineError, OSError, UnicodeDecodeError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"cd {folder} && dvc repro")


def merge(params: dict[str, Any], preset: object, where: str) -> None:
    """Lays a preset's values over the params in place; a key that params.yaml does not have is refused."""
    if not isinstance(preset, dict):
        raise ParamsError(f"{where}: expected a block, got {preset!r}")
    for key, value in preset.items():
        if key not in params:
            raise ParamsError(f"{where}: {key}: expected a key of params.yaml, found none of that name")
        if isinstance(params[key], dict) and key not in WHOLE:
            merge(params[key], value, f"{where}: {key}")
        else:
            params[key] = value


if __name__ == "__main__":
    main()
