"""Check the whole of params.yaml at once, and the files that it names, before any other stage spends hours.

In the chain it is the first stage. What it writes never changes, so nothing runs again because it did.
"""

import os
from pathlib import Path

import click

from pipeline.base.errors import ParamsError
from pipeline.base.files import whole_folder
from pipeline.base.params import Params
from pipeline.check_params import check_files, check_params
from stages.cli import DATA, command


@command(__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "params", show_default=True)
def main(params: Params, out: Path) -> None:
    if out.parent.is_symlink() and Path(os.environ.get("DVC_ROOT", "-"), ".git").exists():  # DVC would refuse it later
        raise ParamsError(
            f"{out.parent}: expected a folder, as DVC refuses a link in a git repository, got a link to "
            f"{out.parent.readlink()}; name other places in ingest.folder.path and ingest.shards_dir, or use new_run "
            "without --git"
        )
    check_params(params)
    check_files(params)
    with whole_folder(out) as part:
        (part / "checked").write_text("params.yaml has all keys, and each value is one that its stage takes.\n")


if __name__ == "__main__":
    main()
