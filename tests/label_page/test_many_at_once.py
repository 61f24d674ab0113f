"""Guesses in the page, many labels with one key, and a look at what was given."""

import pytest

from tests.browser import opened
from tests.label_page.digits_page import Person, answers, count, labels, make, pick, saved, train_keys, written

pytestmark = pytest.mark.usefixtures("run")


@pytest.fixture
def begun(run):
    """Labels of 30 picks are in the file, and ten new picks ask for theirs; the true classes."""
    (run / "annotations").mkdir()
    truth, keys = answers(), train_keys()
    written([(key, truth[key]) for key in keys[:30]])
    pick(keys[30:40])
    return truth


def test_enter_takes_the_guess_and_the_file_says_so(browser, begun):
    with opened(browser, make()) as page:
        person, right = Person(page), {}
        while "left" in count(page):
            right[person.key()] = person.guess() == begun[person.key()]
            assert "guess" in page.locator("#chips .guess").inner_text()  # in words, not in colour alone
            person.give(begun[person.key()])
        assert sum(right.values()) >= 7
        assert person.pressed.count("Enter") == sum(right.values())
        how = {row["key"]: row["how"] for row in saved(page) if row["rank"]}
    assert how == {key: "guess" if good else "key" for key, good in right.items()}


def test_a_guess_follows_what_was_labelled_a_moment_ago(browser):
    pick(train_keys()[:10])
    with opened(browser, make()) as page:
        person = Person(page)
        assert person.guess() is None
        person.give("zero")
        assert person.guess() == "zero"
        person.press("u")
        assert person.guess() is None


@pytest.mark.usefixtures("begun")
def test_all_that_are_ticked_get_the_class_with_one_key(browser):
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("c")
        page.evaluate("scrollTo(0, 1e6)")
        assert page.evaluate("scrollY") > 0
        person.press("g")
        assert page.evaluate("scrollY") == 0
        shown = page.locator("#many .tick")
        number, name = shown.count(), page.locator("#many b").inner_text()
        assert number > 2
        keys = page.evaluate(f"groups.get('{name}').map((item) => item.key)")
        person.press("Space")  # the first one is not of the class
        assert page.locator("#many .go").inner_text().startswith(f"{number - 1} of {number} are {name}")
        page.evaluate("clock.seen -= 10000")
        page.evaluate("scrollTo(0, 1e6)")
        person.press("Enter")
        assert page.evaluate("scrollY") == 0
        assert page.locator("#many b").inner_text() != name
        assert count(page).endswith(f"{number - 1} confirmed beside them")
        page.reload()
        person.press("g")
        assert page.locator("#many b").inner_text() != name
        rows = {row["key"]: row for row in saved(page)}
    assert (rows[keys[0]]["label"], rows[keys[0]]["not"]) == ("", name)
    for key in keys[1:]:
        assert (rows[key]["rank"], rows[key]["label"], rows[key]["how"]) == ("", name, "confirmed")
    assert sum(float(rows[key]["seconds"]) for key in keys[1:]) == pytest.approx(10, abs=3)
    assert all(key in rows for key in train_keys()[:30])  # the labels that were in the file
    found = labels()
    assert {found[key] for key in keys[1:]} == {name}
    with opened(browser, make()) as page:  # they stay in the file from now on
        assert {row["key"] for row in saved(page) if row["how"] == "confirmed"} == {*keys[1:]}


@pytest.mark.usefixtures("begun")
def test_what_was_confirmed_by_mistake_is_taken_back(browser):
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("g")
        before = page.locator("#many").inner_text()
        person.press("Enter", "u")
        assert page.locator("#many").inner_text() == before
        assert "confirmed" not in count(page)


def test_a_label_at_odds_with_the_others_is_shown_by_class(browser, begun):
    keys = train_keys()
    with opened(browser, make()) as page:
        person = Person(page)
        person.press("c")
        assert page.locator("#classes p").first.inner_text().startswith("Labels are held against each other once")
        person.press("Escape")
        sure, guess = page.evaluate("(({key, guess}) => [key, guess[0]])(cards.find((card) => card.guess[1] >= 0.9))")
        while person.key() != sure:
            person.press("ArrowRight")
        wrong = next(name for name in person.classes() if name != guess)
        person.give(wrong)
        person.press("c")
        assert page.locator("#classes .warning").first.inner_text().startswith("1 label to look at again")
        page.locator("#classes .odd").scroll_into_view_if_needed()  # text out of sight is none
        assert page.locator("#classes .odd").inner_text().startswith(f"{wrong}\n⚠ looks like {guess}")
        headings = page.locator("#classes h2").all_inner_texts()
        assert f"{wrong}: {1 + sum(begun[key] == wrong for key in keys[:30])}" in headings[0] + "".join(headings)
        page.locator("#classes .odd").click()
        assert person.key() == sure
