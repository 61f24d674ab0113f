"""Labels of earlier rounds on the page of a later one: seen by class, and corrected."""

from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels
from tests.browser import PHONE, opened, scrolls_sideways, serious_faults
from tests.label.test_server import served
from tests.label_page.digits_page import (
    FILE,
    answers,
    count,
    labels,
    make,
    pick,
    saved,
    train_keys,
    wait_until,
    written,
)

ROUND = Path("data/rounds/00/labels.csv")


@pytest.fixture
def second(run):
    """The keys of a round in which one of five labels is wrong and one is skipped by now, and the page of the next."""
    truth, keys = answers(), train_keys()
    kept = {key: [truth[key]] for key in keys[:5]}
    kept[keys[2]] = ["owl"]
    (run / "rounds/00").mkdir(parents=True)
    Labels(["label"], kept).write(ROUND)
    FILE.parent.mkdir(exist_ok=True)
    written([(keys[0], truth[keys[0]]), (keys[1], "[skip]"), (keys[6], truth[keys[6]])])
    pick(keys[5:9])
    return keys, truth, make()


def card_of(page, name):
    """The pictures below a class, under "By class"."""
    page.keyboard.press("c")
    return page.locator(f"#classes h2:has-text('{name}: ') + p + ol .card, #classes h2:has-text('{name}: ') + ol .card")


def test_a_label_of_an_earlier_round_is_seen_corrected_and_stands_over_the_round(browser, second):
    keys, truth, url = second
    before = ROUND.read_bytes()
    with opened(browser, url, PHONE) as page:
        assert count(page) == "1 of 4 labelled, 3 left"  # nobody is asked for those of the round
        odd = card_of(page, "owl")
        assert [text.split("\n")[-1] for text in odd.all_inner_texts()] == ["earlier round"]
        assert odd.locator("img").evaluate("image => image.naturalWidth") > 0
        assert not scrolls_sideways(page)
        assert serious_faults(page) == []
        assert [row["key"] for row in saved(page) if row["label"]] == [
            keys[6],
            keys[0],
            keys[1],
        ]  # no copy of the round
        odd.click()
        assert page.inner_text("#name").startswith("of an earlier round")
        right = page.locator("#chips .chip", has_text=truth[keys[2]])
        right.click()
        assert page.locator("#classes").is_visible()
        assert card_of(page, "owl").count() == 0
        page.keyboard.press("u")
        assert card_of(page, "owl").count() == 1
        card_of(page, "owl").click()
        right.click()
        page.evaluate(f"give([cards[0]], 'label', '{truth[keys[5]]}', 'key')")  # half of the picks have a label then
        rows = {row["key"]: row for row in saved(page)}
    assert (rows[keys[2]]["label"], rows[keys[2]]["rank"]) == (truth[keys[2]], "")
    assert keys[3] not in rows
    assert labels() == {key: truth[key] for key in (keys[0], *keys[2:7])}
    assert ROUND.read_bytes() == before


def test_a_mark_that_is_taken_back_leaves_what_the_round_says(browser, second):
    """Of an image that the file says nothing of, and of one that is skipped there."""
    keys, truth, url = second
    with opened(browser, url) as page:
        for key, names in ((keys[2], ["[skip]", "owl"]), (keys[1], [truth[keys[1]], "[skip]", truth[keys[1]]])):
            for name in names:
                page.evaluate(f"show('one'); showCard(cards.findIndex((card) => card.key === '{key}'))")
                page.keyboard.press("s")
                assert page.evaluate("labelOf(cards[at])") == name
        rows = {row["key"]: row["label"] for row in saved(page)}
        assert keys[2] not in rows  # as if nobody had been there
        assert rows[keys[1]] == truth[keys[1]]
        assert card_of(page, "owl").count() == 1
    assert labels()[keys[1]] == truth[keys[1]]


def test_arrows_and_enter_stay_among_the_picks_or_among_earlier_rounds(browser, second):
    keys, truth, url = second
    with opened(browser, url) as page:

        def shown():
            return page.evaluate("cards[at].key")

        page.evaluate(f"showCard({len(keys[5:9]) - 1})")
        page.keyboard.press("ArrowRight")
        assert shown() == keys[8]
        for key in keys[5:9]:
            page.evaluate(f"give([of.get('{key}')], 'label', '{truth[key]}', 'key')")
        page.keyboard.press("Enter")
        assert shown() == keys[8]
        page.evaluate("showCard(asked.length)")
        page.keyboard.press("ArrowLeft")
        assert shown() == page.evaluate("cards[asked.length].key")
        page.keyboard.press("ArrowRight")
        assert shown() == page.evaluate("cards[asked.length + 1].key")


def test_from_the_server_a_correction_is_in_the_file_at_once_and_is_there_after_a_reload(browser, second):
    keys, truth, _ = second

    def row():
        return next(line for line in FILE.read_text().splitlines() if keys[2] in line)

    with served() as (url, _), opened(browser, url, allowed=url) as page:
        wait_until(lambda: count(page))
        card_of(page, "owl").click()
        page.locator("#chips .chip", has_text=truth[keys[2]]).click()
        wait_until(lambda: keys[2] in FILE.read_text() and page.inner_text("#unsaved") == "")
        page.reload()
        wait_until(lambda: count(page))
        assert card_of(page, "owl").count() == 0
        page.keyboard.press("Escape")
        page.evaluate(f"showCard(cards.findIndex((card) => card.key === '{keys[2]}'))")
        assert page.locator(".chip[aria-pressed=true]").inner_text().endswith(truth[keys[2]])
        page.keyboard.press("s")
        wait_until(lambda: "[skip]" in row() and page.inner_text("#unsaved") == "")
        page.evaluate(f"show('one'); showCard(cards.findIndex((card) => card.key === '{keys[2]}'))")
        page.keyboard.press("s")
        wait_until(lambda: "owl" in row() and page.inner_text("#unsaved") == "")
        FILE.write_text(FILE.read_text().replace("owl", ""))  # a label that is taken back is the round's again
        page.reload()
        wait_until(lambda: count(page))
        assert card_of(page, "owl").count() == 1
