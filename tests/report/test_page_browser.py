"""The report in a real browser: on a desk and a phone, dark and on paper, with names that are hostile or long."""

import json

import pytest
from click.testing import CliRunner

from stages.evaluate import main as evaluate
from stages.report import main as report
from tests.browser import DESK, PHONE, opened, scrolls_sideways, serious_faults

LONG = "W" * 40


@pytest.fixture
def data(run):
    """A run whose classes and paths are hostile, or long without a place to break."""
    for name in ("label/labels.csv", "ingest/answers.csv", "ingest/sources.csv"):
        text = (run / name).read_text().replace("nine", "<img src=x onerror=throw(1)>").replace("eight", LONG)
        (run / name).write_text(text.replace("digits/", f"<b>{LONG}/"))
    (run / "logs").mkdir()
    (run / "logs/train.json").write_text('{"seconds": 75, "device": "cpu", "images_per_second": 12000}')
    about = json.loads((run / "train/model.json").read_text())
    (run / "train/model.json").write_text(json.dumps({**about, "teacher": {"of": [f"/{LONG}"]}}))
    for main in (evaluate, report):
        result = CliRunner().invoke(main, ["--set", "report.pictures=12", "--set", "report.map=none"])
        assert result.exit_code == 0, result.output
    return run


def test_the_page_fits_reads_well_and_prints(browser, data):
    url = (data / "report/index.html").absolute().as_uri()
    for size, scheme in ((DESK, "light"), (PHONE, "dark")):
        with opened(browser, url, size, color_scheme=scheme) as page:
            assert not scrolls_sideways(page)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert not scrolls_sideways(page)
            assert serious_faults(page) == []
            assert page.get_by_text("1 min 15 s").is_visible()
            assert page.locator("img[src=x]").count() == 0
            page.emulate_media(media="print", color_scheme="dark")
            assert not page.locator(".links").is_visible()
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
