"""The labels that are wanted, and their look-up in the answers that came with the images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.rounds import joined
from pipeline.base.errors import ArtifactError, first_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The picks, best first, and for each the finest level that its label has; level 0 is the finest of all.

    `audit` are other images, whose labels of the finest level are to measure with.
    """

    keys: Sequence[str]
    levels: Sequence[int]
    audit: Sequence[str] = ()

    @property
    def depth(self) -> int:
        """The number of levels, from the finest to the coarsest that a pick is labelled at."""
        return max(self.levels, default=0) + 1

    def labels_in(self, labels: Labels) -> Labels:
        return Labels(labels.levels, {key: labels.rows[key] for key in self.keys if key in labels.rows})

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Every image that a label is asked for, with its level; the audit's come last."""
        return [*zip(self.keys, self.levels, strict=True), *((key, 0) for key in self.audit)]

    def without_label(self, labels: Labels) -> list[str]:
        """The picks that have no label at their own level or a finer one."""
        picks = zip(self.keys, self.levels, strict=True)
        return [key for key, level in picks if not any(labels.rows.get(key, ())[: level + 1])]


def with_answers(labels: Labels, written: Labels, answers: Labels, wanted: Wanted, images: Sequence[str]) -> Labels:
    """The labels, and the answers of those images asked for of which a person wrote nothing.

    If all training `images` have an answer, as in a benchmark, a person is asked all the same.
    """
    answered = {key for key in images if any(answers.rows.get(key, ()))}
    known = [key for key, _ in wanted.asked if key in answered and not any(written.rows.get(key, ()))]
    if not known:
        return labels
    if len(answered) == len(images):
        log.info(
            "label: all images have an answer, yet a person is asked; with label.source: answers in the run's "
            "params.yaml the same command takes them"
        )
        return labels
    log.info("label: %d images have an answer, and it is their label", len(known))
    return joined(labels, Labels(answers.levels, {key: answers.rows[key] for key in known}), levels=labels.levels)


def look_up(wanted: Wanted, answers: Labels, where: Path) -> Labels:
    """The picks' answers, without what is finer than the level of each. Raises ArtifactError where one is missing."""
    if wanted.depth > len(answers.levels):
        raise ArtifactError(
            f"{where}: expected {wanted.depth} levels for label.coarse_budget, got {', '.join(answers.levels)}"
        )
    level_of = dict(zip(wanted.keys, wanted.levels, strict=True))
    rows = {
        key: [*[""] * level_of[key], *names[level_of[key] :]] for key, names in wanted.labels_in(answers).rows.items()
    }
    labels = Labels(answers.levels, rows)
    missing = wanted.without_label(labels)
    if missing:
        hint = "where there are no answers, set label.source=file"
        raise ArtifactError(f"{where}: expected an answer for every pick, got none for {first_names(missing)}; {hint}")
    return labels
