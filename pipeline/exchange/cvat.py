"""CVAT for images 1.1: an XML with a tag for each label of a whole image.

Each label has a checkbox `confirmed`, which is set for a new tag. It is not for a guess: a person sets it.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from pipeline.base.errors import SourceError
from pipeline.base.files import write_json
from pipeline.exchange.answers import CONFIRMED, Answer, Asked, Format, Read
from pipeline.exchange.json_file import MOST_BYTES, read_bytes
from pipeline.label.marks import MARKS

INSIDE = "annotations.xml"  # its name in the archive that CVAT exports


def place(asked: Asked) -> str:
    return f"images/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Writes the guesses, `annotations.xml`, and `labels.json` for the field "Raw" of a new task."""
    names = (*classes, *MARKS)
    checkbox = {"name": CONFIRMED, "mutable": False, "input_type": "checkbox", "default_value": "true"}
    labels = [{"name": name, "type": "tag", "attributes": [{**checkbox, "values": ["true"]}]} for name in names]
    write_json(folder / "labels.json", labels)
    box = (
        f"<attribute><name>{CONFIRMED}</name><mutable>False</mutable><input_type>checkbox</input_type>"
        "<default_value>true</default_value><values>true</values></attribute>"
    )
    meta = "".join(f"<label><name>{escape(name)}</name><attributes>{box}</attributes></label>\n" for name in names)
    images = []
    for number, one in enumerate(asked):
        height, width = one.size
        tag = (
            f'<tag label={quoteattr(one.guess)} source="auto"><attribute name="{CONFIRMED}">false</attribute></tag>'
            if one.guess
            else ""
        )
        head = f'<image id="{number}" name={quoteattr(one.file)} width="{width}" height="{height}">'
        images.append(f"{head}{tag}</image>\n")
    (folder / INSIDE).write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><size>{len(asked)}</size><mode>annotation</mode><labels>\n{meta}</labels></task></meta>\n"
        f"{''.join(images)}</annotations>\n",
        encoding="utf-8",
    )


def read(path: Path) -> Read:
    """Reads the XML, the archive that CVAT exports, or the folder that was one."""
    file = path / INSIDE if path.is_dir() else path
    target = _Tags(str(file))
    parser = ElementTree.XMLParser(target=target)  # keeps no tree
    try:
        parser.feed(_unpacked(file) if zipfile.is_zipfile(file) else read_bytes(file))
        parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: of a code that is none
        raise SourceError(f"{file}: expected XML, got: {error}") from error
    if not target.root:
        raise SourceError(f"{file}: expected CVAT's annotations, found none")
    return target.result


def _unpacked(file: Path) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive, archive.open(INSIDE) as member:
            data = member.read(MOST_BYTES + 1)
    except (KeyError, zipfile.BadZipFile, RuntimeError) as error:  # the last: a password, or a compression it lacks
        raise SourceError(f"{file}: expected {INSIDE} in the archive, got: {error}") from error
    if len(data) > MOST_BYTES:
        raise SourceError(f"{file}: expected at most {MOST_BYTES:,} bytes of {INSIDE}, got more; export it in parts")
    return data


class _Tags:
    """What the parser calls: collects the tags of each image."""

    def __init__(self, file: str) -> None:
        self.file, self.root, self.result = file, False, Read()
        self._image, self._classes = "", list[str]()
        self._label, self._attribute, self._text, self._confirmed = "", "", "", True

    def doctype(self, *_: str | None) -> None:
        """With a document type come entities, of which a small file can make a huge one or read another."""
        raise SourceError(f"{self.file}: expected XML without a DOCTYPE, got one")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._text = ""
        if tag == "annotations":
            self.root = True
        elif tag == "image":
            self._image, self._classes = self._named(tag, attributes, "name"), []
        elif tag == "track":
            raise SourceError(f"{self.file}: expected CVAT for images 1.1, got CVAT for video")
        elif tag == "tag" and self._image:
            self._label, self._confirmed = self._named(tag, attributes, "label"), True
        elif tag == "attribute":
            self._attribute = attributes.get("name", "")

    def data(self, text: str) -> None:
        self._text += text

    def end(self, tag: str) -> None:
        if tag == "attribute" and self._attribute == CONFIRMED:
            self._confirmed = self._text.strip().lower() != "false"
        elif tag == "tag" and self._image:
            if self._confirmed:
                self._classes.append(self._label)
            self.result.guesses += not self._confirmed
        elif tag == "image":
            if self._classes:
                self.result.answers.append(Answer([self._image], self._classes))
            self._image = ""

    def close(self) -> None:
        pass

    def _named(self, tag: str, attributes: dict[str, str], name: str) -> str:
        if not attributes.get(name):
            raise SourceError(f"{self.file}: {tag}: expected the attribute {name}, found none")
        return attributes[name]


FORMAT = Format(place, write, read)
