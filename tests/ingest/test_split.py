import numpy as np
import pytest

from pipeline.ingest.classes import natural
from pipeline.ingest.source import Item, keyed
from pipeline.ingest.split import groups_and_costs, splits_of


def items(order, answers=("0", "1", "2")):
    return keyed(
        Item(f"{n}", None, (name,) if (name := answers[n % len(answers)]) else None, np.zeros((1, 1, 1), np.uint8))
        for n in order
    )


def drawn(listed, seed=0, fraction=0.2):
    return splits_of(listed, groups_and_costs(listed, "")[0], fraction, seed)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.9])
def test_the_share_of_the_test_split_is_the_fraction_of_many_images(fraction):
    test = np.array([split == "test" for split in drawn(items(range(4000)), fraction=fraction).values()])
    assert abs(test.mean() - fraction) <= 4 * np.sqrt(fraction * (1 - fraction) / 4000)


def test_an_image_keeps_its_split_whatever_others_and_whatever_answers_there_are():
    first = drawn(items(range(100)))
    assert drawn(items(reversed(range(100)))) == first
    assert first.items() <= drawn(items(range(300))).items()
    assert drawn(items(range(100), answers=("late", *[None] * 99))) == first
    assert drawn(items(range(100)), seed=1) != first


def test_nothing_is_held_out_where_no_image_has_an_answer():
    assert {*drawn(items(range(100), answers=(None,))).values()} == {"train"}


def test_a_group_has_one_split_which_its_name_decides(tmp_path):
    file = tmp_path / "groups.csv"

    def of_groups(order):
        file.write_text("path,group\n" + "".join(f"{n},{n // 4}\n" for n in order))
        listed = items(order)
        splits = splits_of(listed, groups_and_costs(listed, str(file))[0], 0.5, 0)
        return {item.path: splits[key] for key, item in listed.items()}

    splits = of_groups(range(80))
    groups = [{splits[str(n)] for n in range(start, start + 4)} for start in range(0, 80, 4)]
    assert {len(group) for group in groups} == {1}
    assert 3 < sum(group == {"test"} for group in groups) < 17
    assert {path: splits[path] for path in map(str, range(2, 80, 3))} == of_groups(range(2, 80, 3))


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
