"""Check the whole of params.yaml at once, and the files that it names, before any other stage spends hours.

In the chain it is the first stage. What it writes never changes, so nothing runs again because it did.
"""

from pathlib import Path

import click

from pipeline.base.files import whole_folder
from pipeline.base.params import Params
from pipeline.check_params import check_files, check_params
from stages.cli import DATA, command


@command(__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "params", show_default=True)
def main(params: Params, out: Path) -> None:
    check_params(params)
    check_files(params)
    with whole_folder(out) as part:
        (part / "checked").write_text("params.yaml has all keys, and each value is one that its stage takes.\n")


if __name__ == "__main__":
    main()
