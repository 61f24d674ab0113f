"""The check of pages finds what it is there to find."""

import pytest

from tests.browser import PHONE, opened, scrolls_sideways, serious_faults

GOOD = "<!doctype html><html lang=en><title>good</title><main><h1>A page</h1></main>"


def test_a_good_page_passes(browser, tmp_path):
    (tmp_path / "page.html").write_text(GOOD)
    with opened(browser, (tmp_path / "page.html").as_uri()) as page:
        assert page.inner_text("h1") == "A page"
        assert not scrolls_sideways(page)
        assert serious_faults(page) == []


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('<img alt="" src="http://127.0.0.1:9/x.png">', "127.0.0.1"),
        ("<script>throw new Error('lost')</script>", "lost"),
        ("<script>console.error('so')</script>", "so"),
    ],
    ids=["a request", "an exception", "an error in the console"],
)
def test_a_page_that_asks_for_more_or_fails_is_refused(browser, tmp_path, more, fault):
    (tmp_path / "page.html").write_text(GOOD + more)
    with pytest.raises(AssertionError, match=fault), opened(browser, (tmp_path / "page.html").as_uri()):
        pass


def test_what_is_too_wide_or_unreadable_is_found(browser, tmp_path):
    (tmp_path / "page.html").write_text(GOOD + '<img src="data:,"><p style="width:800px">wide</p>')
    with opened(browser, (tmp_path / "page.html").as_uri(), PHONE) as page:
        assert scrolls_sideways(page)
        assert [fault.split(":")[0] for fault in serious_faults(page)] == ["image-alt"]
