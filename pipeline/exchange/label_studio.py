"""Label Studio: tasks with predictions to import, and its export "JSON", which holds annotations.

An annotation that was skipped is the mark [skip]. The other marks are choices of the labelling interface.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from pipeline.base.errors import SourceError
from pipeline.base.files import write_json
from pipeline.exchange.answers import Answer, Asked, Format, Read
from pipeline.exchange.json_file import field, load, want
from pipeline.label.marks import MARKS, SKIP

TASKS = "tasks.json"


def place(asked: Asked) -> str:
    return f"pictures/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Writes `tasks.json` and the labelling interface, `interface.xml`."""
    tasks = []
    for one in asked:
        # Local files are served by the part of their path below the document root, which holds this folder.
        image = f"/data/local-files/?d={quote(place(one))}"
        task: dict[str, Any] = {
            "data": {"image": image, "key": one.key, "path": one.path, "picture": one.picture},
        }
        if one.guess:
            choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [one.guess]}}
            task["predictions"] = [{"model_version": "guess", "score": one.confidence, "result": [choice]}]
        tasks.append(task)
    write_json(folder / TASKS, tasks)
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in (*classes, *MARKS) if name != SKIP)
    (folder / "interface.xml").write_text(
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image" choice="single" required="true">\n{choices}  </Choices>\n</View>\n',
        encoding="utf-8",
    )


def read(path: Path) -> Read:
    """Reads an export of the kind JSON, a list of tasks with their annotations, or the folder of an export of ours."""
    file = path / TASKS if path.is_dir() else path
    result = Read()
    for number, task in enumerate(want(load(file), list, str(file)), 1):
        where = f"{file}: task {number}"
        node = want(task, dict, where)
        if "annotations" not in node and "data" not in node:
            raise SourceError(f"{where}: expected data and annotations, got {', '.join(node)[:60]}; export it as JSON")
        data = field(node, "data", dict, where)
        image, picture = _image(data), data.get("picture", "")
        if not image:
            raise SourceError(f"{where}: expected the name of an image in data, found none")
        annotations = want(node.get("annotations", []), list, f"{where}: annotations")
        if not annotations:
            result.guesses += bool(node.get("predictions"))
        for annotation in annotations:
            one = want(annotation, dict, f"{where}: annotations")
            classes = [SKIP] if one.get("was_cancelled") else _choices(one, where)
            result.answers.append(Answer(image, classes, _by(one), want(picture, str, f"{where}: picture")))
    return result


def _image(data: dict[str, Any]) -> list[str]:
    """What the data of a task calls its image: by the names that an export of ours gives, else any text in it."""
    texts = {name: text for name, text in data.items() if isinstance(text, str) and text}
    return [texts[name] for name in ("key", "path", "image") if name in texts] or [*texts.values()]


def _choices(annotation: dict[str, Any], where: str) -> list[str]:
    classes, others = list[str](), list[str]()
    for item in field(annotation, "result", list, where):
        part = want(item, dict, f"{where}: result")
        if part.get("type") != "choices":
            others.append(str(part.get("type")))
            continue
        for name in field(field(part, "value", dict, where), "choices", list, where):
            classes.append(want(name, str, f"{where}: choices"))
    if others and not classes:
        raise SourceError(f"{where}: expected choices, got {others[0]}: a label is of a whole image")
    return classes


def _by(annotation: dict[str, Any]) -> str:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return "" if person is None else str(person)


FORMAT = Format(place, write, read)
