"""Map and gallery in a real browser: what they show, list and filter; names stay text."""

import re
from math import cos, pi, sin
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.base.files import read_csv
from stages.evaluate import main as evaluate
from stages.predict import main as predict
from stages.report import main as report
from tests.browser import PHONE, opened, scrolls_sideways, serious_faults
from tests.digits_tree import digit_images

NASTY = "</script><img src=x onerror=throw(1)>"


@pytest.fixture(scope="module")
def pages(digits_run, tmp_path_factory):
    """The address of the folder with the pages of a run whose names are hostile; they lie there once for all tests."""
    import shutil

    from tests.imports import ROOT

    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(digits_run, folder / "data")
    for name in ("label/labels.csv", "ingest/answers.csv", "ingest/sources.csv"):
        text = (folder / "data" / name).read_text().replace("nine", NASTY)
        (folder / "data" / name).write_text(text.replace("digits/", f"{NASTY}/"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for main in (evaluate, report):
            sets = ("--set", "report.map=pca", "--set", "report.gallery=300")
            result = CliRunner().invoke(main, ["--params", str(ROOT / "params.yaml"), *sets])
            assert result.exit_code == 0, result.output
    return (folder / "data/report").as_uri()


def middle_of(page):
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def outside(page):
    """How many points of the map lie beyond its canvas."""
    width, height = page.evaluate("[canvas.clientWidth, canvas.clientHeight]")
    places = page.evaluate("Array.from({ length: images.count }, (_, i) => plot.getScreenPosition(i))")
    return sum(not (0 <= x <= width and 0 <= y <= height) for x, y in places)


def test_a_pick_has_the_rank_that_its_file_has(browser, pages):
    file = Path(pages.removeprefix("file://")).parent / "select/picks.csv"
    with opened(browser, f"{pages}/gallery.html") as page:
        page.select_option("#which", "labelled")
        said = page.locator("li").all_inner_texts()
    ranks = [int(found[1]) for text in said if (found := re.search(r"^label, pick of rank (\d+)$", text, re.MULTILINE))]
    assert sorted(ranks) == [int(rank) for rank, *_ in read_csv(file, ("rank",))[1]]


def test_points_are_shown_listed_and_coloured(browser, pages):
    with opened(browser, f"{pages}/map.html") as page:
        page.wait_for_selector("html[data-ready]")
        page.locator("#lasso").click()
        middle = middle_of(page)
        page.mouse.move(middle[0] + 250, middle[1])
        page.mouse.down()
        for i in range(40):
            page.mouse.move(middle[0] + 250 * cos(i * pi / 20), middle[1] + 250 * sin(i * pi / 20))
            page.wait_for_timeout(12)  # the lasso leaves out what comes faster than frames
        page.mouse.up()
        page.wait_for_selector("#chosen:not([hidden])")
        assert int(page.locator("#about").text_content().split()[0]) > 100
        assert page.locator("#list img").count() == 120
        with page.expect_download() as saved:
            page.locator("#save").click()
        assert saved.value.path().read_text().startswith("key,path\n")
        page.locator("#lasso").click()
        middle = middle_of(page)
        for i in range(60):
            page.mouse.move(middle[0] + 4 * i, middle[1] + 2 * i)
            page.wait_for_timeout(12)
            if page.locator("#tip").is_visible():
                break
        assert page.locator("#tip .line").count() > 0
        page.set_viewport_size({"width": 1280, "height": 800})
        legend = page.locator("#legend").bounding_box()
        assert legend["y"] + min(legend["height"], 200) < 800  # beside the map: seen without scrolling
        assert page.locator("#legend button").count() == 12  # the model knows the class by another name
        assert page.locator("#legend").get_by_text(NASTY).is_visible()
        page.locator("#by").select_option("confidence")
        page.wait_for_selector("#scale:not([hidden])")
        assert page.locator("img[src=x]").count() == 0
        assert serious_faults(page) == []


def test_a_phone_shows_it_and_a_browser_without_webgl_says_so(browser, pages):
    with opened(browser, f"{pages}/map.html", PHONE, color_scheme="dark") as page:
        page.wait_for_selector("html[data-ready]")
        assert not scrolls_sideways(page)
        assert serious_faults(page) == []
        assert outside(page) == 0
        page.evaluate("plot.zoomToLocation([0.5, 0.5], 0.2)")
        assert outside(page) > 0
        page.locator("#home").click()
        page.wait_for_timeout(100)
        assert outside(page) == 0
        page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        page.reload()
        assert page.get_by_text("This browser has no WebGL").is_visible()
        assert not page.locator("#stage").is_visible()


def test_the_gallery_filters_and_shows_what_is_odd(browser, pages):
    with opened(browser, f"{pages}/gallery.html") as page:
        count = page.locator("#count")
        assert count.text_content().startswith("500 images, ")
        assert page.locator("#shown li").count() == 120
        page.locator("#more").click()
        assert page.locator("#shown li").count() == 240
        page.locator("#which").select_option("wrong")
        wrong = int(count.text_content().split()[0])
        assert 5 < wrong == page.locator("#shown .bad").count()
        page.locator("#high").fill("0")
        assert count.text_content() == "0 images."
        page.locator("#high").fill("100")
        page.locator("#which").select_option("labelled")
        page.locator("#class").select_option(label=page.locator("#class option").filter(has_text=NASTY).text_content())
        assert 0 < int(count.text_content().split()[0]) < 10
        page.locator("#class").select_option("")
        page.locator("#which").select_option("")
        page.locator("#text").fill("img src=x")
        assert count.text_content().startswith("500 images, ")
        for view, words in (("suspects", "press it under “By class” on the label page"), ("outliers", "are farthest")):
            page.locator(f"[data-view={view}]").click()
            assert page.get_by_text(words).is_visible()
            shown = int(page.locator(f"[data-view={view}] small").text_content())
            assert page.locator("#shown li").count() == shown > 0
        page.locator("[data-view=classes]").click()
        assert page.locator("#shown h2").count() >= 10
        assert page.locator("#shown h2").get_by_text(NASTY).is_visible()
        assert page.locator("img[src=x]").count() == 0
        assert serious_faults(page) == []


def test_the_gallery_fits_a_phone_in_the_dark(browser, pages):
    with opened(browser, f"{pages}/gallery.html", PHONE, color_scheme="dark") as page:
        for view in ("all", "classes", "copies"):
            page.locator(f"[data-view={view}]").click()
            assert not scrolls_sideways(page)
        assert serious_faults(page) == []


def test_predictions_for_a_folder_have_a_gallery_of_their_own(browser, digits_run, tmp_path):
    folder = tmp_path / "images"
    (folder / "<b>deep").mkdir(parents=True)
    for i in range(12):
        Image.fromarray(digit_images()[i]).save(folder / "<b>deep" / f"{i}.png")
    files = ["--images", str(folder), "--out", str(tmp_path / "p.csv"), "--gallery", str(tmp_path / "page.html")]
    result = CliRunner().invoke(predict, [*files, "--model", str(digits_run / "train")])
    assert result.exit_code == 0, result.output
    with opened(browser, (tmp_path / "page.html").as_uri(), PHONE) as page:
        assert page.locator("#shown img").count() == 12
        assert "<b>deep/" in page.locator("#shown").inner_html().replace("&lt;", "<").replace("&gt;", ">")
        assert page.get_by_text("Suspected label errors").count() == page.get_by_text("The map").count() == 0
        assert not scrolls_sideways(page)
        assert serious_faults(page) == []
        page.fill("#text", "/11.png")
        assert page.locator("#shown img").count() == 1
