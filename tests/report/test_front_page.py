"""The figure of a front as people use it: with mouse and keyboard, on a phone, and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.support.chromium import needs_chromium
from tests.support.made_front import fail_export
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made

pytestmark = [
    pytest.mark.process,
    pytest.mark.renders,
    needs_chromium,
]
WIDTHS = (1200, 390)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study with four networks, the cheapest of them without an ONNX file."""
    made = Made(n_trials=12, with_front=True, with_baselines=True, with_exports=True)
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", made)
    fail_export(files, files.read_front()[0].name, "onnx")
    write_made_report(files, trials)
    return files.report_html


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": request.param, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(report.as_uri())
    yield page
    context.close()


def networks(page: Page) -> Locator:
    return page.locator(".front-drawing a")


def names(page: Page) -> list[str]:
    return networks(page).evaluate_all("all => all.map(it => it.dataset.name)")


def axis(page: Page) -> str:
    return page.locator(".front-drawing > svg").get_attribute("aria-label") or ""


def test_figure_stands_in_the_place_of_the_still_picture(page: Page) -> None:
    assert page.locator(".front-still").is_hidden()
    assert page.locator(".front-live").is_visible()
    assert axis(page) == "Accuracy on the test images against multiply-adds an image"
    assert "ensemble" in names(page) and networks(page).count() == 5


def test_still_picture_is_shown_without_javascript(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".front-still img").is_visible()
    assert page.locator(".front-live").is_hidden()
    context.close()


def test_arrow_keys_choose_cost_and_format(page: Page) -> None:
    page.locator("[name=front-cost]:checked").focus()
    formats = page.locator("[name=front-format]").first
    assert formats.is_disabled()
    page.keyboard.press("ArrowRight")
    assert axis(page).endswith("against parameters")
    page.keyboard.press("ArrowRight")
    assert axis(page).endswith("against size of the file (LiteRT)")
    assert formats.is_enabled() and page.locator("[name=front-trials]").is_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert axis(page).endswith("against size of the file (LiteRT in 8 bits)")
    page.keyboard.press("ArrowRight")
    assert axis(page).endswith("against size of the file (ONNX)")
    assert names(page)[0] != "ensemble" and networks(page).count() == 3  # ONNX files: one failed, none of the ensemble
    assert "3 networks" in page.locator(".front-says").inner_text()


def test_focus_shows_what_hovering_shows_and_escape_hides_it(page: Page) -> None:
    tooltip, first = page.locator(".front-tooltip"), networks(page).first
    assert tooltip.is_hidden()
    page.locator("[name=front-trials]").focus()
    page.keyboard.press("Tab")
    assert first.evaluate("it => it === document.activeElement")
    shown = tooltip.inner_text()
    for line in first.get_attribute("aria-label").split("; ", 3):
        assert line in shown.replace("\n", "; ")
    page.keyboard.press("Escape")
    assert tooltip.is_hidden()
    first.locator(".front-hit").hover()
    assert tooltip.inner_text() == shown
    page.keyboard.press("Tab")
    assert tooltip.inner_text().startswith(names(page)[1])


def test_link_of_a_network_leads_to_its_row(page: Page) -> None:
    name = names(page)[0]
    networks(page).first.focus()
    page.keyboard.press("Enter")
    row = page.locator("tr:target")
    assert row.locator("th").inner_text().startswith(name)
    assert 0 <= row.bounding_box()["y"] < 800


def test_trials_of_the_search_can_be_hidden(page: Page) -> None:
    dots = page.locator(".front-drawing .front-trial")
    assert dots.count() > 0
    page.locator("[name=front-trials]").focus()
    page.keyboard.press("Space")
    assert dots.count() == 0
    assert page.locator(".front-legend [data-kind=trial]").is_hidden()


CUT_OFF = """() => {
    const box = document.querySelector(".front-drawing > svg").getBoundingClientRect();
    return [...document.querySelectorAll(".front-drawing text")].filter(it => {
        const text = it.getBoundingClientRect();
        return text.left < box.left - 1 || text.right > box.right + 1
            || text.top < box.top - 1 || text.bottom > box.bottom + 1;
    }).map(it => it.textContent);
}"""
OVERLAPPING = """() => {
    const names = [...document.querySelectorAll(".front-names text")];
    const boxes = names.map(it => [it.textContent, it.getBoundingClientRect()]);
    return boxes.flatMap(([a, one], i) => boxes.slice(i + 1).filter(([, other]) =>
        one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom
    ).map(([b]) => [a, b]));
}"""


def test_no_text_is_cut_off_and_no_name_covers_another_in_any_view(page: Page) -> None:
    for cost in ("multiply_adds", "parameters", "bytes", "ms"):
        page.check(f"[name=front-cost][value={cost}]")
        n_formats = page.locator("[name=front-format]:enabled").count()
        for i in range(max(1, n_formats)):
            if n_formats:
                page.locator("[name=front-format]").nth(i).check()
            assert page.evaluate(CUT_OFF) == [], axis(page)
            assert page.evaluate(OVERLAPPING) == [], axis(page)


def test_tooltips_stay_within_the_window(page: Page) -> None:
    for i in range(networks(page).count()):
        networks(page).nth(i).focus()
        box = page.locator(".front-tooltip").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]


def test_figure_follows_the_width_of_the_window(page: Page) -> None:
    page.set_viewport_size({"width": 500, "height": 800})
    page.wait_for_function("document.querySelector('.front-drawing > svg').clientWidth < 500")
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown


def test_points_are_large_enough_to_be_touched(page: Page) -> None:
    sizes = page.locator(".front-hit").evaluate_all("all => all.map(it => it.getBoundingClientRect().width)")
    assert sizes and min(sizes) >= 24
