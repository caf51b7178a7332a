"""The report and the comparison as people meet them: in a browser, wide and narrow, light and dark, by keyboard too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from search.report.__main__ import main
from tests.support.chromium import needs_chromium
from tests.support.made_study import make_study
from tests.support.made_trials import Made, store_trials

pytestmark = [
    pytest.mark.process,
    needs_chromium,
]

WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
PLAIN_PAGES = ("alpha/report.html", "compare-alpha-beta.html")
AWKWARD_PAGES = ("awkward/report.html", "compare-alpha-awkward.html")  # long names, few classes, other images
UNTESTED_PAGE = "untested/report.html"  # of a study without test images
CROWDED_PAGE = "crowded/report.html"  # tables that scroll, the confusion matrix as a picture
FRONT_PAGE = "sizes/report.html"  # of a study with networks of every size: the only one with controls
VIEWS = (  # each width and each scheme; all four pairs of one page, as a width has no colours of its own
    *itertools.product(PLAIN_PAGES[:1], WIDTHS, SCHEMES),
    *(
        (page, width, scheme)
        for page in (*PLAIN_PAGES[1:], *AWKWARD_PAGES)
        for width, scheme in zip(WIDTHS, SCHEMES, strict=True)
    ),
    (CROWDED_PAGE, 390, "dark"),
    (UNTESTED_PAGE, 390, "light"),
    (FRONT_PAGE, 1280, "light"),
    (FRONT_PAGE, 390, "dark"),
)
AWKWARD = Made(
    n_trials=8,
    n_seeds=1,
    image_shape=(40, 24, 3),
    class_names=("Sehr-lange-Bezeichnung-ohne-eine-einzige-Luecke", "<b>bold</b> & 'quoted'", "x"),
    is_uneven=True,
    notes=("a remark on the images",),
    n_test=300,
    seed=2,
)
CROWDED = Made(
    n_trials=8, n_seeds=1, class_names=tuple(f"a class that is called {i}" for i in range(40)), n_test=400, n_train=4000
)


@pytest.fixture(scope="module")
def studies_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies tested on the same images and others that were not, with their reports and comparisons."""
    folder = tmp_path_factory.mktemp("studies")
    awkward = folder / f"awkward-{'long-' * 10}name"
    for root, made in (
        (folder / "alpha", Made(with_exports=True)),
        (folder / "beta", Made(seed=1, n_trials=60)),
        (awkward, AWKWARD),
    ):
        store_trials(*make_study(root, made))
    store_trials(*make_study(folder / "crowded", CROWDED))
    store_trials(*make_study(folder / "untested", Made(n_trials=8, is_uneven=True, has_test=False)))
    store_trials(*make_study(folder / "sizes", Made(n_trials=12, with_front=True, with_baselines=True)))
    for names in (
        ["alpha"],
        [awkward.name],
        ["crowded"],
        ["untested"],
        ["sizes"],
        ["alpha", "beta"],
        ["alpha", awkward.name],
    ):
        assert main([*names, "--studies-dir", str(folder)]) == 0
    (folder / "awkward").symlink_to(awkward)
    (folder / "compare-alpha-awkward.html").symlink_to(folder / f"compare-alpha-{awkward.name}.html")
    return folder


@dataclass(frozen=True)
class Opened:
    """A page in the browser, and what it has said and asked for since."""

    page: Page
    path: Path
    complaints: list[str]  # errors and warnings of the console, and uncaught exceptions
    addresses: list[str]  # of every request


@pytest.fixture(scope="module", params=VIEWS, ids=lambda it: "-".join(map(str, it)))
def opened(request: pytest.FixtureRequest, studies_dir: Path, browser: Browser) -> Iterator[Opened]:
    name, width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    opened = Opened(page, studies_dir / name, [], [])
    page.on("console", lambda it: opened.complaints.append(it.text) if it.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("request", lambda it: opened.addresses.append(it.url))
    page.goto(opened.path.as_uri())
    yield opened
    context.close()


def test_page_has_nothing_to_complain_about(opened: Opened) -> None:
    assert opened.complaints == []


def test_page_asks_for_itself_and_nothing_else(opened: Opened) -> None:
    own = opened.path.as_uri()
    assert own in opened.addresses
    assert [it for it in opened.addresses if it.partition("#")[0] != own and not it.startswith("data:")] == []


def test_page_is_light_enough_to_send(opened: Opened) -> None:
    assert opened.path.stat().st_size < 3_000_000


def test_page_fits_its_window(opened: Opened) -> None:
    wide, shown = opened.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown


def test_every_entry_of_the_contents_leads_to_its_section(opened: Opened) -> None:
    links = opened.page.locator("nav a").all()
    assert len(links) >= 5
    for number, link in enumerate(links, start=1):
        link.click()
        heading = opened.page.locator(f"section{link.get_attribute('href')} > h2")
        assert heading.inner_text() == f"{number}. {link.inner_text()}"
        assert 0 <= heading.bounding_box()["y"] < 800


def test_every_section_is_in_the_contents(opened: Opened) -> None:
    targets = [link.get_attribute("href") for link in opened.page.locator("nav a").all()]
    assert targets == [f"#{section.get_attribute('id')}" for section in opened.page.locator("main > section").all()]


def test_headings_descend_without_a_gap(opened: Opened) -> None:
    levels = opened.page.locator("h1, h2, h3, h4, h5, h6").evaluate_all("all => all.map(it => Number(it.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_picture_is_there_and_says_what_it_shows(opened: Opened) -> None:
    opened.page.wait_for_function("[...document.images].every(it => it.complete)")
    pictures = opened.page.locator("img").evaluate_all("all => all.map(it => [it.alt, it.naturalWidth])")
    assert pictures
    assert all(text.strip() and width > 0 for text, width in pictures)


FOCUSED = """() => {
    const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
    return {
        name: it.tagName + " " + (it.getAttribute("aria-label") || it.textContent).slice(0, 40),
        is_over: it === document.body,
        is_outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        is_in_view: box.bottom > 0 && box.top < innerHeight,
    };
}"""


def test_keyboard_reaches_everything_and_shows_where_it_is(opened: Opened) -> None:
    open_details(opened.page)
    focused = list(tabbed(opened.page))
    n_controls = opened.page.evaluate(
        "new Set([...document.querySelectorAll('input:enabled')].map(it => it.name)).size"
    )
    assert len(focused) == opened.page.locator("a[href], [tabindex='0'], summary").count() + n_controls
    assert [it["name"] for it in focused if not (it["is_outlined"] and it["is_in_view"])] == []


def open_details(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")


def tabbed(page: Page) -> Iterator[dict]:
    """What has the focus after each press of Tab, until all have had it."""
    page.locator("h1").click()  # the next Tab starts from there
    for _ in range(200):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["is_over"]:
            return
        yield focused


def test_checker_of_barriers_finds_one(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<html lang="en"><title>x</title><main><h1 style="color: #bbb">too pale to be read</h1></main>')
    assert [it["id"] for it in grave_barriers(page)] == ["color-contrast"]
    page.close()


def test_no_serious_barrier_is_found(opened: Opened) -> None:
    open_details(opened.page)
    found = grave_barriers(opened.page)
    assert [(it["id"], it["help"], [node["html"][:200] for node in it["nodes"][:3]]) for it in found] == []


def grave_barriers(page: Page) -> list[dict]:
    violations = Axe().run(page).response["violations"]
    return [it for it in violations if it["impact"] in ("serious", "critical")]
