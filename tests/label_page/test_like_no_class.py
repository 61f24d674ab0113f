"""Images that look like none of the classes: shown in groups, named by a person, and what the file then has."""

import csv

import numpy as np
import pytest

from pipeline.artifacts.embeddings import Embeddings
from pipeline.select.methods.auto import Auto
from pipeline.select.pool import Pool
from tests.browser import DESK, PHONE, opened, scrolls_sideways, serious_faults
from tests.clouds import SEARCH
from tests.label_page.digits_page import FILE, answers, count, labels, make, pick, saved, train_keys, written

pytestmark = pytest.mark.usefixtures("run")
HIDDEN = "six"


@pytest.fixture
def begun(run):
    """Picks of all classes but one have their labels; the true classes."""
    (run / "annotations").mkdir()
    truth, keys = answers(), train_keys()
    others = np.array([at for at, key in enumerate(keys) if truth[key] != HIDDEN])
    x = Embeddings.of(run / "embed/train", keys).vectors
    chosen = Auto(iterations=20, restarts=4, most_clusters=400).select(Pool.of(x[others], SEARCH), 40, 0).rows
    picks = [keys[row] for row in others[chosen]]
    pick(picks)
    written([(key, truth[key]) for key in picks])
    return truth


def test_a_group_is_named_and_its_images_have_labels(browser, begun):
    with opened(browser, make()) as page:
        page.keyboard.press("+")
        ticks = page.locator("#unlike .tick")
        keys = page.evaluate("unlike[0].items.map((item) => item.key)")
        assert page.evaluate("unlike.length") == 1
        assert ticks.count() == len(keys)
        assert sum(begun[key] == HIDDEN for key in keys) >= 0.9 * len(keys)
        assert page.inner_text("#unlike").startswith(f"About {page.evaluate('unlike[0].count')} images look like none")
        assert not {*keys} & {*page.evaluate("many.map((item) => item.key)")}
        ticks.nth(1).locator("input").uncheck()
        assert page.inner_text("#unlike .go") == f"Label {len(keys) - 1} of {len(keys)}"
        page.fill("#unlike input[type=text]", "[tip]")
        page.keyboard.press("Enter")
        assert page.inner_text("#unlike [role=alert]").startswith("A name in brackets is no class")
        page.fill("#unlike input[type=text]", "half dozen")
        page.keyboard.press("Enter")
        assert "You have looked at all of these" in page.inner_text("#unlike")
        assert page.locator("[data-view=unlike]").is_hidden()
        assert f"{len(keys) - 2} confirmed beside them" in count(page)
        rows = {row["key"]: row for row in saved(page)}
    assert [rows[keys[0]][name] for name in ("label", "how", "rank")] == ["half dozen", "typed", ""]
    assert {(rows[key]["label"], rows[key]["how"]) for key in keys[2:]} == {("half dozen", "confirmed")}
    assert keys[1] not in rows
    assert [key for key, name in labels().items() if name == "half dozen"] == sorted([keys[0], *keys[2:]])
    with opened(browser, make()) as page:  # with their labels the graph reaches the others of the class
        assert page.evaluate("unlike.length") == 0


@pytest.mark.usefixtures("begun")
def test_the_name_of_a_group_is_taken_back_as_a_whole(browser):
    with opened(browser, make()) as page:
        page.click("[data-view=unlike]")
        before = page.inner_text("#unlike")
        page.fill("#unlike input[type=text]", "half dozen")
        page.click("#unlike .go")
        page.keyboard.press("u")
        assert page.inner_text("#unlike") == before
        assert [row["label"] for row in saved(page) if not row["rank"]] == []


def test_of_classes_that_all_have_labels_it_says_nothing(browser, begun, caplog):
    caplog.set_level("INFO")
    make()
    assert any(line.startswith("label: about ") and "look like none" in line for line in caplog.messages)
    caplog.clear()
    missed = [key for key in train_keys() if begun[key] == HIDDEN][:4]
    with FILE.open("a", newline="") as file:
        csv.writer(file).writerows([(key, HIDDEN) for key in missed])
    with opened(browser, make()) as page:
        assert page.locator("[data-view=unlike]").is_hidden()
        page.keyboard.press("+")
        assert page.locator("#one").is_visible()
    assert not any("look like none" in line for line in caplog.messages)


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_it_reads_well(browser, size):
    with opened(browser, make(), size) as page:
        page.keyboard.press("+")
        assert page.locator("#unlike .tick").first.is_visible()
        assert not scrolls_sideways(page)
        assert serious_faults(page) == []
