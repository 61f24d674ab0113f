"""One class for each image from the answers of several people, and how far they agree."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.label.marks import SKIP

Vote = tuple[str, str, str]  # key of the image, who, the class


@dataclass
class Verdict:
    """The class or mark of each image, the images that have none and why, and how far each person agrees."""

    label: dict[str, str] = field(default_factory=dict)
    several: dict[str, list[str]] = field(default_factory=dict)  # the classes that one person gave one image
    split: dict[str, list[str]] = field(default_factory=dict)  # the classes of people of whom no side has more
    shared: int = 0  # images that several people gave a class
    agrees: dict[str, tuple[int, int]] = field(default_factory=dict)  # by person: of shared images with a label


def decide(votes: Iterable[Vote]) -> Verdict:
    """The class that most people gave each image. A skip is a vote only where nobody gave a class."""
    by_image: dict[str, dict[str, set[str]]] = {}
    for key, who, name in votes:
        by_image.setdefault(key, {}).setdefault(who, set()).add(name)
    verdict = Verdict()
    tally: dict[str, list[bool]] = {who: [] for people in by_image.values() for who in people}
    for key, people in by_image.items():
        given = {who: names - {SKIP} for who, names in people.items() if names != {SKIP}}
        verdict.shared += len(given) > 1
        several = next((names for names in given.values() if len(names) > 1), None)
        if several:
            verdict.several[key] = sorted(several)
            continue
        one = {who: name for who, (name,) in given.items()}
        counts = Counter(one.values()) or Counter([SKIP])
        (best, most), *others = counts.most_common()
        if any(count == most for _, count in others):
            verdict.split[key] = sorted(counts)
            continue
        verdict.label[key] = best
        for who, name in one.items() if len(one) > 1 else ():
            tally[who].append(name == best)
    verdict.agrees = {who: (sum(same), len(same)) for who, same in sorted(tally.items())}
    return verdict


def lines(verdict: Verdict, count: Mapping[str, int]) -> list[str]:
    """What the log says of people: how many answers each gave, and how often most of the others agree."""
    if len(count) < 2:
        return []
    said = [f"{verdict.shared} images have a class from several people"]
    for who, (same, of) in verdict.agrees.items():
        said.append(
            f"{who or 'not named'} answered {count[who]}; on {same} of {of} that others answered too as most did"
        )
    return said
