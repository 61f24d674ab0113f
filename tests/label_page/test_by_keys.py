"""A person labels in a real browser, by keys alone."""

import pytest

from tests.browser import opened
from tests.label_page.digits_page import (
    PAGE,
    Person,
    answers,
    count,
    labels,
    make,
    milliseconds_a_key,
    nothing_known,
    paths,
    pick,
    saved,
    train_keys,
    written,
)

pytestmark = pytest.mark.usefixtures("run")


def test_sixty_images_take_sixty_keys_where_the_classes_are_known(browser):
    truth, keys = answers(), train_keys()[:60]
    nothing_known()
    pick(keys)
    names = sorted({*truth.values()})
    with opened(browser, make(f"label.classes=[{', '.join(names)}]")) as page:
        person = Person(page)
        assert person.classes() == names
        for _ in range(30):
            person.give(truth[person.key()])
        page.reload()
        assert count(page) == "30 of 60 labelled, 30 left"
        while "left" in count(page):
            person.give(truth[person.key()])
        assert len(person.pressed) == 60
        assert page.evaluate("document.activeElement.id") == "save"
        rows = saved(page)
    assert [(row["rank"], row["key"]) for row in rows] == [(str(rank), key) for rank, key in enumerate(keys)]
    assert {row["how"] for row in rows} == {"key", "guess"}
    assert all(row["seconds"] for row in rows)
    assert labels() == {key: truth[key] for key in keys}


def test_names_that_are_typed_once_have_a_key_from_then_on(browser):
    truth = answers()
    nothing_known()
    pick(train_keys()[:40])
    with opened(browser, make()) as page:
        person = Person(page)
        typed = []
        while "left" in count(page):
            name = truth[person.key()]
            typed += [name] * (len(person.give(name)) > 1)
        assert sorted(typed) == sorted({*typed})
        assert len(person.pressed) == 40 + sum(len(name) + 1 for name in typed)
    with opened(browser, make()) as page:  # capitals and spaces make no other class
        person = Person(page)
        person.give("cat")
        for name in ("CAT", " cat ", "Cat"):
            person.press("n")
            person.type(name)
        assert person.classes() == ["cat"]
        assert count(page).startswith("4 of 40")


def test_a_class_that_is_called_as_a_key_has_that_key(browser):
    nothing_known()
    pick(train_keys()[:4])
    with opened(browser, make("label.classes=[cat, '2', '0', x, '1', dog]")) as page:
        person = Person(page)
        assert page.locator("#chips kbd").all_inner_texts() == ["3", "2", "0", "4", "1", "5"]
        person.press("0", "3", "2")
        person.press("n")
        person.type("3")  # that key is taken
        assert page.locator("#chips kbd").all_inner_texts() == ["3", "2", "0", "4", "1", "5", "6"]
        assert [row["label"] for row in saved(page)] == ["0", "cat", "2", "3"]


def test_undo_marks_and_moving_about(browser):
    pick(train_keys()[:6])
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("1", "s", "-", "x")
        assert count(page) == "1 of 6 labelled, 3 without a class, 2 left"
        person.press("u")
        assert (count(page), person.key()) == ("1 of 6 labelled, 2 without a class, 3 left", train_keys()[3])
        person.press("ArrowLeft", "-")  # the mark again: off
        assert count(page) == "1 of 6 labelled, 1 without a class, 4 left"
        person.press("-", "x", "ArrowLeft", "2")  # the last one over a mark
        person.press("z")
        assert page.locator("#whole img").get_attribute("alt") == "Image 5, whole"
        person.press("1", "Escape")  # no label while the picture is large
        assert count(page) == "2 of 6 labelled, 2 without a class, 2 left"
        person.press("o")
        numbers = page.locator("#all small").all_inner_texts()
        rows = saved(page)
    assert [row["label"] for row in rows] == ["zero", "[skip]", "[none]", "one", "", ""]
    assert [f"rank {row['rank']}" for row in rows] == numbers


@pytest.mark.parametrize(
    "hostile", ["<img src=x onerror=throw(1)>", '"><script>throw 1</script>', "{{ 7 * 7 }}'&lt;", "</script>"]
)
def test_names_of_files_and_classes_stay_text(browser, hostile):
    keys = train_keys()
    paths(hostile)
    pick(keys[:4])
    written([(keys[0], hostile), (keys[1], "cat"), (keys[9], hostile)])
    with opened(browser, make()) as page:
        before = page.locator("script").count()
        person = Person(page)
        assert page.inner_text("#name") == f"3 of 4 · {hostile}{keys[2]}"
        person.press("n")
        person.type(f"other {hostile}")
        assert hostile in person.classes()
        for view in "oczg":
            person.press(view, "Escape")
        assert page.locator("script").count() == before == 2
        assert page.locator('img[src="x"]').count() == 0
        assert saved(page)[2]["label"] == f"other {hostile}"
    assert labels()[keys[2]] == f"other {hostile}"


def test_a_word_in_brackets_is_no_class(browser):
    pick(train_keys()[:2])
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("n")
        person.type("[later]")
        said = "A name in brackets is no class: [none], [skip], [unusable] stand in place of one."
        assert page.inner_text("#refused") == said
        page.fill("#typed", "[SKIP]")
        person.press("Enter")
        assert count(page) == "0 of 2 labelled, 1 without a class, 1 left"


def test_a_coarser_class_is_asked_for_once_a_class(browser):
    keys = train_keys()[:5]
    nothing_known()
    pick(keys)
    with opened(browser, make("label.coarse_budget=1")) as page:
        person = Person(page)
        person.give("cat")
        assert page.evaluate("document.activeElement.id") == "level-coarse"
        person.type("pet")
        person.give("cat", guesses=False)
        person.give("ant", guesses=False)
        person.press("Enter")  # not known
        person.give("ant", guesses=False)
        person.type("insect")
        assert (person.key(), person.classes()) == (keys[4], ["pet", "insect"])
        person.give("insect", guesses=False)
        rows = saved(page)
    given = [(row["label"], row["coarse"]) for row in rows]
    assert given == [("cat", "pet"), ("cat", ""), ("ant", ""), ("ant", "insect"), ("", "insect")]


def test_time_is_counted_while_somebody_is_at_work(browser):
    pick(train_keys()[:3])
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("1")
        page.evaluate("clock.seen -= 5000")
        person.press("1")
        page.evaluate("clock.seen -= 3600000")  # an hour at lunch: a minute of it counts
        person.press("1")
        seconds = [float(row["seconds"]) for row in saved(page)]
    assert 0 <= seconds[0] < 3
    assert 5 <= seconds[1] < 8
    assert 60 <= seconds[2] < 63


def test_a_key_is_answered_at_once_with_two_thousand_picks(browser, many_picks):
    with opened(browser, many_picks) as page:
        slowest, median = milliseconds_a_key(page, "12345" * 8)
        assert count(page).startswith("40 of 2000")
        assert median < 50
        assert slowest < 200  # a garbage collection, or another process
    assert PAGE.stat().st_size < 15_000_000
