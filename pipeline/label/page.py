"""The page that shows the picks, with their labels or with fields to type them into."""

import hashlib
from pathlib import Path
from typing import Literal

import jinja2

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.machine import Reading
from pipeline.label.marks import SKIP, UNUSABLE
from pipeline.label.person import COLUMNS
from pipeline.label.wanted import Wanted
from pipeline.shards.pictures import pictures

SIDE = 224  # pixels of a picture's longer side, at most


def render(
    wanted: Wanted,
    manifest: Manifest,
    index: Index,
    sources: Sources,
    classes: Classes,
    filled: Labels,
    reading: Reading | None = None,
) -> str:
    """A page that needs no other file: every image asked for, with its label or mark; fields, where one has neither.

    Where some picks are labelled at a coarser level only, the others have a field for that level too.
    """
    keys = [key for key, _ in wanted.asked]
    blank = not all(any(filled.rows.get(key, ())) for key in wanted.audit)
    mode: Literal["shown", "asked"] = "asked" if blank or wanted.without_label(filled) else "shown"
    shown = pictures(manifest, index, keys, SIDE, reading)
    asked = filled.levels[: wanted.depth]
    cards = [
        {
            "rank": rank,
            "audit": rank >= len(wanted.keys),
            "key": key,
            "path": sources.path.get(key, ""),
            "digest": sources.picture.get(key, ""),
            "picture": shown[key],
            # Under this name the browser keeps what was typed: it must not be another data set's image of that key.
            "store": f"{key}-{hashlib.sha256(shown[key].uri.encode()).hexdigest()[:16]}",
            "label": " / ".join(name for name in filled.rows.get(key, ()) if name),
            "fields": [
                {"level": name, "value": value, "needed": at == level}
                for at, (name, value) in enumerate(zip(asked, filled.rows.get(key, [""] * len(asked)), strict=False))
                if at >= level
            ],
        }
        for rank, (key, level) in enumerate(wanted.asked)
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    marks = {"skip": SKIP, "unusable": UNUSABLE}
    named = {level: {row[at] for row in filled.rows.values()} - {*marks.values()} for at, level in enumerate(asked)}
    names = {level: classes.union(level, named[level]) for level in asked}
    columns = (*COLUMNS, *asked)
    return template.render(cards=cards, mode=mode, names=names, columns=columns, source=manifest.source, **marks) + "\n"
