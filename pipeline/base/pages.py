"""Pages from templates: what comes from the user is escaped, and a value that a template lacks is an error."""

from collections.abc import Sequence
from pathlib import Path

import jinja2


def environment(folders: Sequence[Path | str]) -> jinja2.Environment:
    """Where the templates in these folders, which extend `layout.html`, are made into pages.

    Of two of one name the first folder's counts.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
