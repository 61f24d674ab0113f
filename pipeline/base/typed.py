"""What a person types to go on with a run: targets of make where the checkout is, or commands in the run's folder."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

MORE = 40  # images of the next round
OF_MAKE = Path("runs/images")  # the run that make takes where none is named


@dataclass(frozen=True)
class Typed:
    """The commands: to go on, to label, to keep the round and choose more, and so on; of a file, a line each."""

    again: str
    label: str
    more: str
    replace: str  # picks that are marked
    compare: str  # with other values
    predict: str
    params: str  # the file of the run
    by_make: bool

    @property
    def stops(self) -> str:
        """What choosing more images ends in where a person labels them."""
        if self.by_make:
            return f" It stops for their labels: then {self.label}."
        return " It ends in an error that says what to label, until you have labelled them."

    @classmethod
    def of(cls, run: Path, environment: Path) -> "Typed":
        """By make for a run below the checkout that holds the environment, else in the run's folder."""
        checkout, folder = environment.parent, Path(os.path.relpath(run, environment.parent))
        if ".." in folder.parts or not all((checkout / name).is_file() for name in ("Makefile", "stages/images.py")):
            return IN_FOLDER
        which, name = "" if folder == OF_MAKE else f" RUN={shlex.quote(str(folder))}", shlex.quote(str(folder))
        dvc = shlex.quote(str(Path(environment.name, "bin/dvc")))
        both = shlex.quote(f"{folder}@before {folder}")
        return cls(
            again=f"make images{which}",
            label=f"make label{which}",
            more=f"make round BUDGET={MORE}{which}",
            replace=f"make replace{which}",
            compare=f"{dvc} --cd {name} exp save -f -n before\nmake images{which}  # with the other values\n"
            f"make compare RUNS={both}",
            predict=f"{begin(run, environment)}\n{IN_FOLDER.predict}",
            params=str(folder / "params.yaml"),
            by_make=True,
        )


def begin(run: Path, environment: Path) -> str:
    """What to type first in the folder that holds the environment; "" where the run lies elsewhere, or none is made."""
    folder = Path(os.path.relpath(run, environment.parent))
    if ".." in folder.parts or not (environment / "bin/activate").is_file():
        return ""
    activate = f"source {shlex.quote(os.path.relpath(environment / 'bin/activate', run))}"
    return activate if folder == Path() else f"cd {shlex.quote(str(folder))} && {activate}"


def home(folder: Path) -> Path:
    """The run of which `dvc exp run --temp` or `--queue` has made `folder`, a temporary checkout; else `folder`."""
    inside = [above for above in folder.parents if above.parts[-3:] == (".dvc", "tmp", "exps")]
    return inside[-1].parents[2] if inside else folder


def here() -> Typed:
    """Those of the run in this folder, with the environment that this process has."""
    return Typed.of(home(Path.cwd()), Path(sys.prefix))


IN_FOLDER = Typed(
    again="dvc repro",
    label="python -m stages.label --serve",
    more=f"python -m stages.next_round --budget {MORE} && dvc repro",
    replace="python -m stages.replace_picks && dvc repro",
    compare="dvc exp save -f -n before\ndvc repro  # with the other values\npython -m stages.compare .@before .",
    predict="python -m stages.predict --images some/folder --out predictions.csv",
    params="params.yaml",
    by_make=False,
)
