"""Pages from templates: what comes from the user is escaped, and a value that a template lacks is an error."""

from collections.abc import Sequence
from pathlib import Path

import jinja2


def environment(folders: Sequence[Path | str]) -> jinja2.Environment:
    """Where the templates in these folders are made into pages; of two of one name the first folder's counts."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
