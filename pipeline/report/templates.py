"""What pages are made of: templates beside this file; names and paths of the user are escaped."""

from pathlib import Path

import jinja2

from pipeline.base.pages import environment
from pipeline.report import names, plots, tables
from pipeline.report.times import spoken


def templates() -> jinja2.Environment:
    """The environment of all pages, with the filters that they use."""
    env = environment([Path(__file__).parent])
    own = {"plain": names.plain, "plainly": names.plainly, "spoken": spoken}
    env.filters |= {"percent": plots.percent, "flat": tables.flat, **own}
    return env
