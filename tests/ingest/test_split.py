from collections import Counter

import numpy as np
import pytest

from pipeline.ingest.classes import natural
from pipeline.ingest.source import Item, keyed
from pipeline.ingest.split import choose_test, groups_and_costs, splits_of


def chance():
    return np.random.default_rng(0)


def alone(classes):
    return list(range(len(classes)))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("counts", [[50, 7, 3, 2, 2, 1], [1000], [10] * 30, [2] * 9])
def test_each_class_gives_its_share_and_keeps_an_image(counts, fraction):
    classes = [name for name, count in enumerate(counts) for _ in range(count)]
    test = choose_test(classes, alone(classes), fraction, chance())
    given = Counter(name for name, chosen in zip(classes, test, strict=True) if chosen)
    for name, count in enumerate(counts):
        assert given[name] <= count - 1
        assert abs(given[name] - fraction * count) <= 1 or given[name] == count - 1
    room = sum(min(int(fraction * count) + 1, count - 1) for count in counts)
    assert test.sum() == min(round(fraction * len(classes)), room)


def test_groups_stay_together_and_shares_stay_near():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 60, 600)
    classes = [int(group % 4) if rng.random() < 0.8 else int(rng.integers(4)) for group in groups]
    test = choose_test(classes, list(groups), 0.25, chance())
    for group in range(60):
        assert len(set(test[groups == group])) == 1
    for name in range(4):
        share = test[np.array(classes) == name].mean()
        assert 0.18 < share < 0.32


def test_a_class_that_is_one_group_stays_in_train():
    classes = ["a"] * 10 + ["b"] * 10
    groups = ["one"] * 10 + list(range(10))
    test = choose_test(classes, groups, 0.7, chance())
    assert test[:10].sum() == 0
    assert test[10:].sum() == 7


def test_without_answers_it_is_a_simple_draw():
    test = choose_test([None] * 1000, alone(range(1000)), 0.2, chance())
    assert test.sum() == 200
    assert 70 < test[:500].sum() < 130


def items(order):
    return keyed(Item(f"{n}", None, (str(n % 3),), np.zeros((1, 1, 1), np.uint8)) for n in order)


def test_the_order_of_the_listing_does_not_matter():
    def drawn(listed, seed):
        return splits_of(listed, groups_and_costs(listed, "")[0], 0.2, seed)

    assert drawn(items(range(100)), 0) == drawn(items(reversed(range(100))), 0)
    assert drawn(items(range(100)), 0) != drawn(items(range(100)), 1)


def test_images_without_a_group_are_groups_of_their_own(tmp_path):
    (tmp_path / "groups.csv").write_text("path,group\n0,a\n1, a \n2,\n3, \n3,\n 4 ,b\n")
    listed = items(range(6))
    groups, costs = groups_and_costs(listed, str(tmp_path / "groups.csv"))
    by_path = {item.path: groups[key] for key, item in listed.items()}
    assert (by_path["0"], by_path["1"], by_path["4"], costs) == ("a", "a", "b", {})
    assert len({by_path[path] for path in ("0", "2", "3", "5")}) == 4


def test_names_sort_as_a_person_sorts_them():
    ordered = ["9", "10", "a", "B", "b", "b9", "b10", "²"]
    assert sorted(["b10", "10", "a", "b9", "9", "B", "b", "²"], key=natural) == ordered
