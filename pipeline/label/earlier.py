"""The labels of finished rounds, of pictures that are there, and the classes that they name."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.labels import Classes, Labels, Sources, level_names
from pipeline.artifacts.rounds import joined, read_rounds, round_files
from pipeline.artifacts.shards import Index
from pipeline.label.marks import without_marks
from pipeline.label.pictures import keys_now
from pipeline.label.spelling import one_spelling


def of_rounds(
    folder: Path, index: Index, sources: Sources, levels: Sequence[str], classes: Classes
) -> tuple[Labels, Classes]:
    """The labels at these levels and at those of the usual names, and `classes` with those that a round adds.

    Other columns of a round's file do not count. A later round's spelling is taken for that of an earlier one.
    """
    read_rounds(folder)  # refuses an image of two rounds
    tables = []
    for file in round_files(folder):
        table = Labels.read(file)
        keys, rows = [*table.rows], [*table.rows.values()]
        images = keys_now(file, keys, [" / ".join(names) for names in rows], [""] * len(keys), index, sources)
        own = [level for level in table.levels if level in {*levels, *level_names(len(table.levels))}]
        columns = []
        for level in own:
            written = [names[table.levels.index(level)].strip() for names in rows]
            columns.append(one_spelling(file, level, keys, written, classes.names.get(level, ())))
        there = {key: names for key, *names in zip(images, *columns, strict=True) if key is not None}
        tables.append(without_marks(Labels(own, there)))
        for at, level in enumerate(own):
            named = (names[at] for names in tables[-1].rows.values())
            # In the order in which they came: on the page the keys of classes stay those of the round before.
            classes = Classes({**classes.names, level: classes.then(level, named)})
    return joined(Labels(levels, {}), *tables), classes
