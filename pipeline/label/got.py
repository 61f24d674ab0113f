"""What there is for the images that were asked for: labels, marks in their place, or nothing yet."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.rounds import Latest
from pipeline.artifacts.shards import Index
from pipeline.label.audit import audit_labels
from pipeline.label.marks import marked, why_without, without_marks
from pipeline.label.person import read_written
from pipeline.label.wanted import Wanted, look_up, with_answers


@dataclass(frozen=True)
class Got:
    """`labels` of images that are not the audit's, `checked` of those that are; `others` have one and are no picks.

    `written` is what a person's file says, marks too; of answers there is none.
    """

    wanted: Wanted
    labels: Labels
    checked: Labels
    written: Labels
    others: Collection[str] = field(default_factory=set)
    confirmed: Collection[str] = field(default_factory=set)  # many at once, by a person

    @classmethod
    def of_answers(cls, wanted: Wanted, answers: Labels, where: Path) -> "Got":
        """The answers of the picks. Raises ArtifactError, naming the file, where one has none."""
        labels = look_up(wanted, answers, where)
        audit = [key for key in wanted.audit if any(answers.rows.get(key, ())[:1])]
        known = Wanted(wanted.keys, wanted.levels, audit)
        return cls(known, labels, audit_labels(audit, answers), Labels(answers.levels, {}))

    @classmethod
    def of_person(
        cls,
        file: Path,
        wanted: Wanted,
        answers: Labels,
        earlier: Labels,
        index: Index,
        classes: Classes,
        levels: Sequence[str],
        sources: Sources,
        confirmed: Collection[str],
    ) -> "Got":
        """The labels of a person's file, and the answers that some images have; `earlier` are those of other rounds."""
        written = read_written(file, index, classes, levels, sources)
        labels = with_answers(without_marks(written), written, answers, wanted, index.key)
        checked, labels = audit_labels(wanted.audit, labels), labels.less(wanted.audit).completed(file)
        others = {key for key in labels.rows if key not in earlier.rows} - {*wanted.keys}
        return cls(wanted, labels, checked, written, others, confirmed)

    @cached_property
    def why(self) -> Mapping[str, str]:
        """Why each pick without a label as fine as was asked for has none; "" where nothing is said of it."""
        return why_without(self.wanted.without_label(self.labels), self.written, self.labels)

    @cached_property
    def not_audited(self) -> Mapping[str, str]:
        """The same of the audit's images."""
        keys = [key for key in self.wanted.audit if not self.checked.rows[key][0]]
        return why_without(keys, self.written, self.labels)

    @property
    def marked(self) -> set[str]:
        """The images of which a person wrote a mark."""
        return marked(self.written)

    def filled(self, levels: Sequence[str]) -> Labels:
        """All that is said of any image, for the page and the table to fill in."""
        of_the_audit = {key: [*row, *[""] * (len(levels) - 1)] for key, row in self.checked.rows.items() if row[0]}
        said = {key: names for key, names in self.written.rows.items() if any(names)}
        return Labels(levels, {**of_the_audit, **said, **self.labels.rows})

    def over(self, earlier: Labels) -> Latest:
        """The labels to train on: those of finished rounds, unless a person's file says otherwise now, and its own."""
        return Latest.of(earlier, self.labels, self.marked)

    def still(self, of_each: bool) -> int:
        """How many picks need a label before the chain goes on; `of_each` where something must be said of every one.

        Labels that were confirmed many at once do not count: they tell less, and there may be hundreds.
        """
        unsaid = sum(not reason for reason in self.why.values()) if of_each else 0
        return max(unsaid, _still(self.why, len(self.wanted.keys), len({*self.others} - {*self.confirmed})))

    @property
    def audit_still(self) -> int:
        """The same of the audit's images."""
        return _still(self.not_audited, len(self.wanted.audit), 0)


def _still(why: Mapping[str, str], num_images: int, others: int) -> int:
    """How many images need a label, if those in `why` have none.

    Labels for half as many images are enough, with `others` that were not asked for; or one, if of each something is
    said.
    """
    labelled = num_images - len(why) + others
    unsaid = sum(not reason for reason in why.values())
    half = math.ceil(num_images / 2) - labelled
    return max(0, min(half, max(unsaid, 1 - labelled)))
