"""Images are found by what a table calls them."""

import pytest

from pipeline.ingest.lookup import found

TREE = ["a/000.PNG", "a/001.png", "b/000.png", "b/caf\u00e9.jpg"]


@pytest.mark.parametrize(
    ("texts", "paths", "expected"),
    [
        (["./a/001.png", "a\\001.png", "A/001.PNG", " a/001.png ", "/a/001.png"], TREE, ["a/001.png"] * 5),
        (["a/000.png", "b/cafe\u0301.JPG"], TREE, ["a/000.PNG", "b/caf\u00e9.jpg"]),
        (["a/001", "001", "001.png"], TREE, ["a/001.png"] * 3),
        (["000.png", "002.png", ""], TREE, [None, None, None]),
        (["/data/set/a/001.png", "/data/set/b/000.png"], TREE, ["a/001.png", "b/000.png"]),
        (["C:\\set\\a\\001.png"], TREE, ["a/001.png"]),
        (["a/0.png", "b/0.png"], ["0.png"], [None, None]),
        (["a.b.png", "a.b"], ["a.b.png"], ["a.b.png"] * 2),
        (["0.PNG", "0.png"], ["0.png", "0.PNG"], ["0.PNG", "0.png"]),
        ([" 0.png", "0.png"], [" 0.png", "0.png"], [" 0.png", "0.png"]),
        (["0.png"], ["0.png", "a/0.png"], ["0.png"]),
    ],
)
def test_the_path_that_a_text_means(texts, paths, expected):
    assert found(texts, paths) == expected
