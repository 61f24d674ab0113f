"""The page on a desk, a phone, in the dark, on paper and without colours: nothing too wide, nothing unreadable."""

import os

import pytest

from tests.browser import DESK, PHONE, opened, scrolls_sideways, serious_faults
from tests.imports import ROOT
from tests.label_page.digits_page import Person, answers, count, make, pick, train_keys, written

pytestmark = pytest.mark.usefixtures("run")
LOOKS = {
    "desk": (DESK, {}),
    "phone": (PHONE, {"has_touch": True, "is_mobile": True}),
    "dark": (DESK, {"color_scheme": "dark"}),
    "without colours": (DESK, {"forced_colors": "active"}),
}

AFTER_THE_GUESS = "getComputedStyle(document.querySelector('.chip.guess i'), '::after').content"


@pytest.fixture
def begun(run):
    (run / "annotations").mkdir()
    truth, keys = answers(), train_keys()
    written([(key, truth[key]) for key in keys[:30]])
    pick(keys[24:40])
    return make("label.classes=[a name that is as long as the names of some classes of animals and plants are]")


@pytest.mark.parametrize("look", LOOKS)
def test_each_view_reads_well(browser, begun, look):
    size, context = LOOKS[look]
    with opened(browser, begun, size, **context) as page:
        for key in ("Escape", "o", "c", "g"):
            page.keyboard.press(key)
            assert not scrolls_sideways(page), key
            assert serious_faults(page) == []


def test_a_finger_labels_and_swipes(browser, begun):
    with opened(browser, begun, PHONE, has_touch=True, is_mobile=True) as page:
        person = Person(page)
        first = person.key()
        assert person.guess()
        assert page.evaluate(AFTER_THE_GUESS) == '", tap"'
        page.locator(".chip").nth(2).tap()
        assert count(page).startswith("7 of 16")
        second = person.key()
        swipe = """(by) => {
          const target = document.getElementById("picture");
          const touch = (clientX) => [new Touch({ identifier: 1, target, clientX, clientY: 9 })];
          const tell = (name, x) => target.dispatchEvent(new TouchEvent(name, {
            touches: name === "touchstart" ? touch(x) : [], changedTouches: touch(x), cancelable: true }));
          tell("touchstart", 200);
          tell("touchend", 200 + by);
        }"""
        page.evaluate(swipe, 90)
        assert person.key() == first
        page.evaluate(swipe, -90)
        assert person.key() == second
        page.evaluate(swipe, 20)  # no swipe
        assert person.key() == second
        assert page.locator("#picture").bounding_box()["y"] < page.locator("#chips").bounding_box()["y"] < PHONE[1]


def test_the_picture_stays_where_it_is_while_the_count_grows(browser, begun):
    with opened(browser, begun, (1280, 800)) as page:
        places = [page.locator("#picture").bounding_box()["y"]]
        person = Person(page)
        while "left" in count(page):
            person.press("s" if len(places) == 1 else "1")
            places.append(page.locator("#picture").bounding_box()["y"])
        assert count(page) == "All labelled, 1 without a class: press Save labels.csv"
        assert len({*places}) == 1


def test_a_page_with_an_audit_says_how_many_images_it_is_of_and_why_they_have_no_guess(browser, begun):
    says = "The last 5 are the audit, random images to measure with: they show no guess, which would lead you."
    with opened(browser, begun) as page:
        assert "audit" not in page.inner_text("header")
    with opened(browser, make("label.audit=5")) as page:
        assert says in page.inner_text("header")
        assert not scrolls_sideways(page)


def test_on_paper_all_images_stand_with_their_labels(browser, begun):
    with opened(browser, begun) as page:
        page.pdf()  # tells the page that it is printed
        page.emulate_media(media="print")
        assert page.locator("#all .card:visible").count() == 16
        assert page.locator("#one").is_hidden()
        assert page.locator("#save").is_hidden()


@pytest.mark.usefixtures("begun")
def test_the_picture_in_the_guide(browser):
    """docs/images/label.png is of this page: UPDATE_PICTURE=1 draws it anew."""
    picture = ROOT / "docs/images/label.png"
    with opened(browser, make(), (1200, 640)) as page:
        shot = page.screenshot()
    if os.environ.get("UPDATE_PICTURE"):
        picture.write_bytes(shot)
    assert len(shot) < 100_000
    assert picture.is_file()


def test_the_page_can_ask_nobody_for_anything(browser, begun):
    asks = """(ask) => new Promise((told) => {
      document.addEventListener("securitypolicyviolation", (event) => told(event.effectiveDirective));
      setTimeout(told, 2000, "nothing forbade it");
      ask === "fetch" ? fetch("http://127.0.0.1:9/").catch(() => {}) : (new Image().src = "http://127.0.0.1:9/");
    })"""
    page = browser.new_context().new_page()
    page.goto(begun)
    assert [page.evaluate(asks, what) for what in ("fetch", "image")] == ["connect-src", "img-src"]
    page.context.close()
