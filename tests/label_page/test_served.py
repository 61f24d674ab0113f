"""The page from the server: labels are kept there, one by one, and the chain goes on when the person has finished."""

import csv
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels
from tests.browser import opened
from tests.label.test_server import served
from tests.label_page.digits_page import FILE, Person, answers, count, make, pick, train_keys, wait_until, written

pytestmark = pytest.mark.usefixtures("run")


@contextmanager
def asked(browser, url):
    """The page when it has its labels from the server."""
    with opened(browser, url, allowed=url) as page:
        wait_until(lambda: count(page))  # Playwright's own way of waiting needs eval, which the page forbids
        yield page


def rows():
    with FILE.open(newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def test_each_label_is_in_the_file_at_once_and_another_browser_goes_on(browser):
    truth, keys = answers(), train_keys()
    written([(keys[0], truth[keys[0]]), (keys[20], "owl")])
    pick(keys[:8])
    make()
    with served() as (url, _):
        with asked(browser, url) as page:
            person = Person(page)
            assert count(page).startswith("1 of 8")
            person.give(truth[keys[1]])
            person.press("s", "u")
            wait_until(lambda: keys[1] in rows() and page.inner_text("#unsaved") == "")
            assert (rows()[keys[1]]["label"], rows()[keys[1]]["how"]) == (truth[keys[1]], "key")
            assert rows()[keys[2]]["label"] == ""
            page.evaluate("localStorage.setItem(cards[3].store, JSON.stringify({ values: { label: 'old' } }))")
            page.reload()
            wait_until(lambda: count(page))
            assert count(page) == "2 of 8 labelled, 6 left"
        with asked(browser, url) as page:
            person = Person(page)
            assert (count(page), person.key()) == ("2 of 8 labelled, 6 left", keys[2])
            assert "owl" in person.classes()
            person.press("z")
            wait_until(lambda: page.evaluate("document.querySelector('#whole img').naturalWidth"))
            assert "picture?key=" in page.locator("#whole img").get_attribute("src")


def test_what_the_stage_knows_stays_and_what_was_taken_back_does_not_come_again(browser):
    truth, keys = answers(), train_keys()
    Labels(["label"], {key: [truth[key]] for key in keys[:3]}).write(Path("data/ingest/answers.csv"))
    pick(keys[:6])
    make()
    with served() as (url, _), asked(browser, url) as page:
        assert count(page).startswith("3 of 6")
        page.evaluate("give([cards[0]], 'label', '', 'key')")
        wait_until(lambda: FILE.is_file() and page.inner_text("#unsaved") == "")
        page.reload()
        wait_until(lambda: count(page))
        assert count(page).startswith("2 of 6")


def test_what_was_unticked_among_many_does_not_come_back(browser):
    truth, keys = answers(), train_keys()
    written([(key, truth[key]) for key in keys[:30]])
    pick(keys[30:40])
    make()

    def offered(page):
        Person(page).press("g")
        name = page.locator("#many b").inner_text()
        return name, page.evaluate(f"groups.get('{name}').filter(isOpen).map((item) => item.key)")

    with served() as (url, _), asked(browser, url) as page:
        name, first = offered(page)
        Person(page).press("Space", "Tab", "Space", "Space", "Escape")  # the second one is ticked again
        assert offered(page) == (name, first[1:])
        wait_until(lambda: first[1] in rows() and page.inner_text("#unsaved") == "")
        assert (rows()[first[0]]["not"], rows()[first[1]]["not"]) == (name, "")
        page.reload()
        wait_until(lambda: count(page))
        assert offered(page) == (name, first[1:])
        make()
        page.reload()
        wait_until(lambda: count(page))
        assert first[0] not in page.evaluate("many.map((item) => item.key)")
        Person(page).press("g", "Enter")
        wait_until(lambda: page.inner_text("#unsaved") == "" and rows()[first[1]]["label"] == name)
    assert (rows()[first[0]]["label"], rows()[first[0]]["not"]) == ("", name)


def test_what_is_not_saved_yet_is_said_and_tried_again(browser):
    """The server is gone for a while: its port refuses."""
    keys = train_keys()
    pick(keys[:6])
    make()
    with served() as (url, process):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        wait_until(lambda: count(page))
        Person(page).press("1")
        wait_until(lambda: FILE.is_file() and page.inner_text("#unsaved") == "")
        context.set_offline(True)
        Person(page).press("1", "2", "u")
        wait_until(lambda: "not saved yet: 3" in page.inner_text("#unsaved"))
        assert len(rows()) == 1
        context.set_offline(False)
        wait_until(lambda: page.inner_text("#unsaved") == "")
        assert [row["key"] for row in rows().values() if row["label"]] == keys[:2]
        context.close()
        assert process.poll() is None


def test_an_open_page_goes_on_when_the_server_is_started_again(browser):
    keys = train_keys()
    pick(keys[:6])
    make()
    page = browser.new_context(accept_downloads=True).new_page()
    with served() as (url, _):
        page.goto(url)
        wait_until(lambda: count(page))
        assert not page.locator("#here").is_visible()
    Person(page).press("1")
    wait_until(lambda: "start it again in the folder /" in page.inner_text("#unsaved"), 20)
    with page.expect_download() as download:
        page.click("#here")
    assert keys[0] in Path(download.value.path()).read_text()
    with served():
        wait_until(lambda: page.inner_text("#unsaved") == "")
        assert [*rows()] == keys[:1]
        assert not page.locator("#here").is_visible()
    page.context.close()


def test_what_is_refused_is_said_and_keeps_no_label_from_the_file(browser):
    keys = train_keys()
    pick(keys[:6])
    make()
    with served() as (url, _), asked(browser, url) as page:
        page.evaluate("change([{ key: 'gone', values: { label: 'cat' }, how: 'key' }])")
        Person(page).press("1")
        wait_until(lambda: FILE.is_file() and page.inner_text("#unsaved") == "")
        assert [*rows()] == keys[:1]
        Person(page).press("1")
        page.evaluate("change([{ key: 'gone', values: { label: 'cat' }, how: 'key' }])")
        wait_until(lambda: page.inner_text("#untaken") == "not taken: gone (it is no training image)")
        Person(page).press("1")
        assert page.inner_text("#untaken") == ""


CHAIN = """stages:
  label:
    cmd: python -m stages.label --set label.source=file
    deps: [data/annotations]
    outs: [data/label/labels.csv: {cache: false}]
  evaluate:
    cmd: >-
      sleep 4 && echo '93.0% of 100 test images are right (95 %: 86.1% to 97.1%); all metrics: metrics.json'
    deps: [data/label/labels.csv]
  report:
    cmd: mkdir -p data/report && cp data/annotations/labels.csv data/report/index.html
    deps: [data/label/labels.csv]
"""


@pytest.mark.parametrize(
    "there", [pytest.param(True, marks=pytest.mark.slow, id="a chain"), pytest.param(False, id="none")]
)
def test_finish_lets_the_chain_go_on_and_shows_what_it_says(browser, there):
    keys = train_keys()[:3]
    pick(keys)
    make()
    if there:
        subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
        Path("dvc.yaml").write_text(CHAIN)
    with served() as (url, process), asked(browser, url) as page:
        Person(page).press("1")
        assert page.inner_text("#save") == "Finish"
        if there:
            page.click("#save")
            wait_until(
                lambda: page.inner_text("#progress") == "To go on, label 1 more image. Then press Finish again.", 60
            )
        Person(page).press("1")
        page.click("#save")
        if there:
            wait_until(lambda: page.inner_text("#progress") == "measuring (8 of 9)", 30)
            page.reload()
            wait_until(lambda: page.inner_text("#progress") == "measuring (8 of 9)", 3)
            assert not page.locator("#save").is_enabled()
        wait_until(lambda: page.locator("#save").is_enabled(), 30)
        said = page.inner_text("#progress")
        if there:
            assert said == "done: 93.0% of 100 test images are right (95 %: 86.1% to 97.1%) Open the report"
            assert page.locator("#progress a").get_attribute("href") == "report/index.html"
            page.reload()
            wait_until(lambda: page.inner_text("#progress") == said)
            *_, done = [process.stdout.readline().strip() for _ in range(8)]
            assert done == said.replace(" Open the report", "; the report: data/report/index.html")
            assert keys[1] in page.evaluate("fetch('report/index.html').then((answer) => answer.text())")
        else:
            assert "you are not inside of a DVC repository" in said
