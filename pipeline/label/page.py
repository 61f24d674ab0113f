"""The page that shows the picks with their labels, or asks a person for these, one by one and many at once."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.machine import Reading
from pipeline.base.pages import environment
from pipeline.label import label_file, person
from pipeline.label.around import Around
from pipeline.label.effort import Effort
from pipeline.label.marks import MARKS, NONE, SKIP, UNUSABLE
from pipeline.label.wanted import Wanted
from pipeline.shards.pictures import Picture, pictures

SIDES = (512, 320, 224, 128)  # pixels of a picture's longer side: the largest at which the page is small enough
SMALL, TINY = 96, 64  # the same of images that are confirmed many at once, and of those beside a pick
EARLIER = 1000  # images of earlier rounds, at most: 3 MB
BYTES, SAMPLE = 10_000_000, 20  # of all large pictures, and how many tell how large they will be; small ones take 5 MB


@dataclass(frozen=True)
class Album:
    """The images of the set, and the name and digest of each."""

    manifest: Manifest
    index: Index
    sources: Sources
    reading: Reading | None = None

    def at(self, keys: Collection[str], side: int) -> dict[str, Picture]:
        return pictures(self.manifest, self.index, keys, side, self.reading)

    def large(self, keys: Sequence[str]) -> dict[str, Picture]:
        """The pictures as large as the page has room for."""
        some = keys[:SAMPLE]
        for side in SIDES[:-1]:
            size = sum(len(picture.uri) for picture in self.at(some, side).values())
            if size * len(keys) <= BYTES * len(some):
                return self.at(keys, side)
        return self.at(keys, SIDES[-1])

    def row(self, key: str, picture: Picture | None) -> dict[str, Any]:
        """What a page says of an image."""
        digest = self.sources.picture.get(key, "")
        of = digest or (hashlib.sha256(picture.uri.encode()).hexdigest()[:16] if picture else "")
        # The browser keeps a label under the name `store`: it must not be another data set's image of that key.
        about = {"key": key, "path": self.sources.path.get(key, ""), "picture": digest, "store": f"{key}-{of}"}
        return {**about, "uri": picture.uri, "tiny": picture.tiny} if picture else about


def shown(wanted: Wanted, album: Album, filled: Labels) -> str:
    """A page that needs no other file: every image asked for, with its label."""
    keys = [key for key, _ in wanted.asked]
    found = album.at(keys, 224)
    cards = [
        {
            **album.row(key, found[key]),
            "rank": rank,
            "audit": rank > len(wanted.keys),
            "label": " / ".join(name for name in filled.rows.get(key, ()) if name),
        }
        for rank, key in enumerate(keys, start=1)
    ]
    return _render("shown.html", cards=cards, source=album.manifest.source)


def asking(
    wanted: Wanted,
    album: Album,
    classes: Classes,
    filled: Labels,
    spent: Mapping[str, Effort],
    unticked: Mapping[str, str],
    around: Around,
    earlier: Labels,
) -> str:
    """A page that needs no other file and asks for a label of each image, in place of which a mark may stand.

    Where some picks are labelled at a coarser level only, the others are asked for that level too. All labels of the
    person's file are in the page, and so in what it saves, whether it shows their images or not; so are the images that
    were unticked for a class. Those of `earlier` rounds are shown too, to be corrected: what such a round says is in
    what the page saves only where somebody says otherwise, or the file says it already.
    """
    keys = [key for key, _ in wanted.asked]
    asked, large = filled.levels[: wanted.depth], album.large(keys)
    blank = [""] * len(filled.levels)

    def written(key: str, picture: Picture | None) -> dict[str, Any]:
        given = spent.get(key, Effort("", None))
        values = dict(zip(filled.levels, filled.rows.get(key, blank), strict=True))
        about = {"how": given.how, "seconds": given.seconds, "not": unticked.get(key, "")}
        return {**album.row(key, picture), "values": values, **about}

    cards = [
        {
            **written(key, large[key]),
            "rank": rank,
            "audit": rank > len(wanted.keys),
            "levels": asked[level:],
            "guess": around.guesses.of.get(key) if level == 0 else None,
            "beside": around.beside[rank - 1] if rank <= len(around.beside) else [],
            "like": around.like[rank - 1] if rank <= len(around.like) else [],
        }
        for rank, (key, level) in enumerate(wanted.asked, start=1)
    ]
    small = album.at(around.guesses.surest.keys(), SMALL)
    sure = [{**written(key, small[key]), "guess": pair} for key, pair in around.guesses.surest.items()]
    groups = around.guesses.unlike
    typical = album.at({key for _, group in groups for key in group}, SMALL)
    old = [key for key, names in earlier.rows.items() if any(names) and key not in {*keys}][-EARLIER:]
    pictured = album.at(old, SMALL)
    past = [_of_round(written(key, pictured[key]), earlier, filled) for key in old]
    there = {*keys, *small, *typical, *old}
    beside = {key for row in around.beside for key in row}
    marks = {"skip": SKIP, "none": NONE, "unusable": UNUSABLE}
    rows = filled.rows.values()
    named = {level: [row[at] for row in rows if row[at] not in MARKS] for at, level in enumerate(asked)}
    data = {
        "columns": [*person.COLUMNS, *filled.levels, *label_file.ABOUT],
        "levels": asked,
        "classes": {level: classes.then(level, named[level]) for level in asked},
        "marks": marks,
        "cards": cards,
        "earlier": [{**one, "levels": asked, "guess": around.guesses.of.get(one["key"]), "beside": []} for one in past],
        "sure": sure,
        "unlike": [{"count": count, "items": [written(key, typical[key]) for key in group]} for count, group in groups],
        "others": [written(key, None) for key in {**filled.rows, **unticked} if key not in there],
        "small": {key: picture.uri for key, picture in album.at(beside - there, TINY).items()},
        "known": {key: around.known[key] for key in sorted(beside) if key in around.known},
    }
    return _render("page.html", data=data, count=len(cards), audit=len(wanted.audit))


def _of_round(about: Mapping[str, Any], earlier: Labels, filled: Labels) -> dict[str, Any]:
    """What is written of an image of an earlier round or, where that is neither mark nor name, what the round says.

    `kept` is what the round says in any case, `filed` whether the person's file has the image too.
    """
    names, values = dict(zip(earlier.levels, earlier.rows[about["key"]], strict=True)), about["values"]
    kept = {level: names.get(level, "") for level in values}
    if not {*MARKS} & {*values.values()}:
        values = {level: name or kept[level] for level, name in values.items()}
    return {**about, "values": values, "kept": kept, "filed": about["key"] in filled.rows}


def _render(name: str, **values: Any) -> str:
    return environment([Path(__file__).parent]).get_template(name).render(**values) + "\n"
