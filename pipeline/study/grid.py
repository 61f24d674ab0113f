"""The grid of a study: which picks are made, and how many random ones they are held against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RANDOM = "random"
MORE = (2, 4, 8)  # random picks are also measured at so many times the largest budget, for what the others save


@dataclass(frozen=True)
class Group:
    """One set of picks, which every training method is given."""

    selector: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Grid:
    """What is to be measured; random picks always are, as all others are held against them."""

    selectors: Sequence[str]
    methods: Sequence[str]
    budgets: Sequence[int]
    seeds: int

    def groups(self, most: int) -> Iterator[Group]:
        """With at most so many labels. All of the grid comes with its first seed before the second begins."""
        for seed in range(self.seeds):
            for selector in dict.fromkeys([*self.selectors, RANDOM]):
                more = [times * max(self.budgets) for times in MORE] if selector == RANDOM else []
                for budget in sorted({*self.budgets, *more}):
                    if budget <= most:
                        yield Group(selector, budget, seed)
