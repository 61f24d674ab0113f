"""A folder of its own for a run: a copy of the code and the graphs, and its own params.yaml."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.base.errors import ParamsError
from pipeline.base.files import whole_file
from pipeline.base.params import Params, near, overlay, parse_yaml, refuse_renamed
from pipeline.check_params import check_params

HOME = Path(__file__).resolve().parent.parent
MARK = ".run"  # an empty file that says that a folder was laid out here
WHOLE = ("second", "options")  # blocks that are replaced, not laid over: any of another block's values may be in them
# By a person, and the model of the last round.
BROUGHT = ("data/images", "data/annotations", "data/rounds", "data/backbone", "data/teacher", "data/previous")
LAID_OUT = (MARK, ".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "experiments", "params.yaml", "pipeline", "stages")
NO_GIT = "    no_scm = True\n"


def new_run(folder: Path, presets: Sequence[Path], sets: Sequence[str], *, git: bool = False) -> None:
    """Lays out the folder, or lays it out again: then it takes the new code and params, and keeps its data.

    Presets are laid over params.yaml in order, then the `sets`, each a key=value. With `git` the folder is a repository
    of its own, with what was laid out in a commit. Raises ParamsError for a folder that holds anything else, and for
    the first fault in the params.
    """
    if folder.resolve() in (HOME, *HOME.parents, HOME / "pipeline", HOME / "stages"):
        raise ParamsError(f"{folder}: expected a folder for a run, got one of the code's own")
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise ParamsError(f"{folder}: expected a new folder or one laid out before, found other files in it")
    if git and not shutil.which("git"):
        raise ParamsError("--git: expected git on the PATH, found none")
    params = edited(HOME / "params.yaml", presets, sets)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for package in ("pipeline", "stages"):
        shutil.rmtree(folder / package, ignore_errors=True)
        shutil.copytree(HOME / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BROUGHT:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / ".dvc").mkdir(exist_ok=True)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/.gitignore"):
        shutil.copy(HOME / name, folder / name)
    for file in (HOME / "experiments").glob("*/dvc.yaml"):
        if (copy := folder / file.relative_to(HOME)).exists():  # `make replicate` has put it there
            shutil.copy(file, copy)
    write_params(folder / "params.yaml", params)
    config = folder / ".dvc" / "config"
    if not config.exists():
        config.write_text(f"[core]\n    analytics = false\n    check_update = false\n{NO_GIT}", encoding="utf-8")
    if git:
        config.write_text(config.read_text(encoding="utf-8").replace(NO_GIT, ""), encoding="utf-8")
        commit(folder)


def edited(file: Path, presets: Sequence[Path], sets: Sequence[str]) -> dict[str, Any]:
    """The params of a file, with their comments; over them the presets in order, then the `sets`, each a key=value.

    Raises ParamsError for the first fault in the result.
    """
    Params.read(file)  # refuses in one line what is no YAML
    params = _yaml().load(file.read_text(encoding="utf-8"))
    for preset in presets:
        if not preset.is_file():
            others = (HOME / "presets").glob("*/*.yaml")
            raise ParamsError(
                f"{preset}: expected a preset, found no such file{near(preset, (p.relative_to(HOME) for p in others))}"
            )
        values = parse_yaml(preset.read_text(encoding="utf-8"), str(preset))
        if isinstance(values, dict):
            refuse_renamed(values, str(preset))
        merge(params, values, str(preset))
    for item in sets:
        check_key(params, item)
        overlay(params, item)
    check_params(Params.of(params, "params.yaml"))
    return params


def write_params(file: Path, params: Mapping[str, Any]) -> None:
    """Writes what `edited` gives."""
    with whole_file(file) as part:
        _yaml().dump(params, part)


def _yaml() -> YAML:
    yaml = YAML()  # keeps the comments
    yaml.width, yaml.preserve_quotes = 1000, True
    return yaml


def commit(folder: Path) -> None:
    """Commits what was laid out, and nothing else, in a repository that is made if there is none."""

    def git(*arguments: str, check: bool = True) -> bool:
        return not subprocess.run(["git", *arguments], cwd=folder, stdout=subprocess.DEVNULL, check=check).returncode

    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch=main")
    if not git("config", "user.email", check=False):
        git("config", "user.name", "new_run")
        git("config", "user.email", "new_run@localhost")  # DVC commits too
    kept = [f"{name}/.gitkeep" for name in BROUGHT if not (folder / name).is_symlink()]  # a link's folder is not ours
    for name in kept:
        (folder / name).touch()
    paths = [name for name in (*LAID_OUT, *kept) if (folder / name).exists()]
    git("add", "--", *paths)
    if not git("diff", "--cached", "--quiet", "--", *paths, check=False):
        how = ("-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "--message", "Lay out the run")
        git(*how, "--", *paths)


def check_key(params: Mapping[str, Any], item: str) -> None:
    """Raises ParamsError for a `dotted.key=value` whose key the params do not have; empty blocks take any."""
    alone: dict[str, Any] = {}
    overlay(alone, item)
    refuse_renamed(alone, f"--set {item}")
    node: Any = params
    for part in item.partition("=")[0].split("."):
        if not isinstance(node, Mapping) or not node:
            return  # `overlay` refuses a key below a value
        if part not in node:
            raise ParamsError(f"--set {item}: {unknown(part, node)}")
        if part in WHOLE:
            return
        node = node[part]


def unknown(key: str, block: Mapping[str, Any]) -> str:
    """What is wrong with a key that a block does not have, and which one may be meant."""
    return f"{key}: expected a key of params.yaml, found none of that name{near(key, block)}"


def merge(params: dict[str, Any], preset: object, where: str) -> None:
    """Lays a preset's values over the params in place; a key that params.yaml does not have is refused."""
    if not isinstance(preset, dict):
        raise ParamsError(f"{where}: expected a block, got {preset!r}")
    for key, value in preset.items():
        if key not in params:
            raise ParamsError(f"{where}: {unknown(key, params)}")
        if isinstance(params[key], dict) and key not in WHOLE:
            merge(params[key], value, f"{where}: {key}")
        else:
            params[key] = value
