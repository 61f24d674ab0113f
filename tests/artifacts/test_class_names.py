"""Which names are one class, and which mean that there is no label."""

from collections import Counter

import pytest

from pipeline.artifacts.class_names import match, means_no_label, spellings


@pytest.mark.parametrize(
    "name",
    ["unlabeled", "Unlabelled", "no_label", "No Label", "unlabeled2017", "unlabelled-data", "unknown", "UNKNOWN",
     "", " ", "\u200b", "-1", "-1.0", "NaN", "nan", "null", "<NA>", "#N/A"],
)  # fmt: skip
def test_words_for_no_label(name):
    assert means_no_label(name)


@pytest.mark.parametrize(
    "name", ["label", "labelled", "unknown soldier", "1", "-10", "NA", "none", "banana", "ничего", "未知", "🐕"]
)
def test_other_names_are_classes(name):
    assert not means_no_label(name)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("cat ", ["cat", "dog"], "cat"),
        ("CAT", ["cat", "Dog"], "cat"),
        ("cafe\u0301", ["café"], "café"),
        ("red\u00a0 fox\ufeff", ["red fox"], "red fox"),
        ("7", ["007", "012"], "007"),
        ("007", ["7"], "7"),
        ("7", ["07", "007"], None),
        ("A", ["a", "A"], "A"),
        ("CO", ["Co", "cO"], None),
        ("bird", ["cat"], None),
    ],
)
def test_the_known_class_that_is_meant(name, known, expected):
    assert match(name, known) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"cat": "train", "Cat": "test"}, "Cat"),
        ({"Cat": "train", "cat": "test test"}, "cat"),
        ({"red fox": "a", "red  fox": "a", "red fox\u200b": "a", "red\u00a0fox ": "a"}, "red fox"),
        ({"caf\u00e9": "a", "cafe\u0301": "a a"}, "caf\u00e9"),
        ({"dog\ufe0f": "a", "dog": "a a"}, "dog"),
        ({"a": "x", "A": "x", "letter_b": "x", "letter_B": "x"}, None),
        ({"Co": "train test", "CO": "train test"}, None),
        ({"Co": "train test", "CO": "train"}, "Co"),
    ],
)
def test_one_spelling_for_each_class(seen, expected):
    """By how often each split has the names; None stands for names that are kept as they are."""
    found = spellings({name: Counter(splits.split()) for name, splits in seen.items()})
    assert found == {name: name if expected is None else expected for name in seen}
