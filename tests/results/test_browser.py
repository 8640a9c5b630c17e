"""Pages in a real Chromium: both widths, both themes; nothing overflows, nothing is asked of the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2l_cli.results import report as reports
from tests.results import pages

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WIDE, PHONE = (1280, 800), (390, 844)
PATIENCE = 180_000
"""Milliseconds that a page may take on a machine that is busy."""

VIEWS = [(size, theme) for size in (WIDE, PHONE) for theme in ("light", "dark")]
views = pytest.mark.parametrize(("size", "theme"), VIEWS, ids=[f"{size[0]}-{theme}" for size, theme in VIEWS])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    reports.write(pages.whole(made), made)
    return made


class Opened:
    """A page, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int] = WIDE, theme: str = "light") -> None:
        self.path, self.said, self.asked = path, list[str](), list[str]()
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def wait(self, script: str) -> None:
        """Wait until a script says true; Playwright's own waiting evaluates text within the page, which it forbids."""
        for _ in range(600):
            if self.run(script):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {script}")

    def open_all(self) -> None:
        """Open what is folded, and let every chart come into sight."""
        self.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for figure in self.page.query_selector_all("figure"):
            figure.scroll_into_view_if_needed()
        self.wait("document.querySelectorAll('figure:not(.live)').length === 0")


@views
def test_nothing_overflows_and_nothing_is_asked_for(browser, folder, size, theme):
    with Opened(browser, folder / "report.html", size, theme) as opened:
        opened.open_all()
        assert opened.run("document.documentElement.scrollWidth") <= size[0]
        beside = """Array.from(document.querySelectorAll('main *')).filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width && box.right > innerWidth + 1 && !one.closest('.table') && !one.closest('.uplot');
        }).map((one) => one.outerHTML.slice(0, 80))"""
        assert opened.run(beside) == []
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [opened.path.as_uri()]


@views
def test_the_first_screen_has_question_answer_table_and_figure(browser, folder, size, theme):
    with Opened(browser, folder / "report.html", size, theme) as opened:
        opened.page.wait_for_selector(".lead .live canvas")
        for what in (".question", ".answer", ".command .copy", ".numbers table", ".look canvas"):
            box = opened.page.query_selector(f".lead {what}").bounding_box()
            assert box["y"] + box["height"] <= size[1], what


@views
def test_every_column_of_the_first_table_and_the_name_of_each_axis_are_in_sight(browser, folder, size, theme):
    with Opened(browser, folder / "report.html", size, theme) as opened:
        opened.page.wait_for_selector(".lead .live canvas")
        hidden = """Array.from(document.querySelectorAll('.lead th, .lead td')).filter((one) => {
            const [box, frame] = [one, one.closest('.table')].map((each) => each.getBoundingClientRect());
            return box.width && box.right > frame.right + 1;
        }).map((one) => one.textContent)"""
        assert opened.run(hidden) == []
        names = "Array.from(document.querySelectorAll('.lead .upward')).map((one) => one.textContent)"
        assert opened.run(names) == ["loss", "loss"]


@views
def test_ours_and_verdict_stay_in_sight(browser, folder, size, theme):
    with Opened(browser, folder / "report.html", size, theme) as opened:
        opened.open_all()
        seen = """Array.from(document.querySelectorAll('section .folds tbody tr, .lead tbody tr')).flatMap((row) => {
            const heads = Array.from(row.closest('table').querySelectorAll('thead th'));
            const names = heads.map((one) => one.textContent.trim());  // a phone hides a part of some
            return ['ours [95 %]', 'verdict'].map((name) => {
                const cell = row.cells[names.findIndex((one) => one.startsWith(name))];
                return cell.getBoundingClientRect();
            }).map((box) => box.width > 0 && box.left >= 0 && box.right <= innerWidth + 1);
        })"""
        found = opened.run(seen)
        assert len(found) >= 10
        assert all(found)


@views
def test_text_can_be_read(browser, folder, size, theme):
    """Text and its ground differ by the contrast that WCAG asks for, 4.5 : 1."""
    luminance = """(() => {
        const parts = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
            .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
            .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
        const ground = (one) => {
            for (let at = one; at; at = at.parentElement) {
                const colour = parts(getComputedStyle(at).backgroundColor);
                if (colour.length === 3 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        return Array.from(document.querySelectorAll('p, td, th, small, code, .badge, a, button, figcaption'))
            .filter((one) => one.offsetParent !== null && one.textContent.trim() && !one.classList.contains('skip'))
            .map((one) => {
                const [high, low] = [parts(getComputedStyle(one).color), ground(one)].map(light).sort((a, b) => b - a);
                return [(high + 0.05) / (low + 0.05), one.outerHTML.slice(0, 80)];
            }).filter(([ratio]) => ratio < 4.5);
    })()"""
    with Opened(browser, folder / "report.html", size, theme) as opened:
        opened.open_all()
        assert opened.run(luminance) == []


def test_hovering_reads_values_and_a_click_hides_a_curve(browser, folder):
    with Opened(browser, folder / "report.html") as opened:
        page = opened.page
        page.wait_for_selector(".lead .live canvas")
        values = "Array.from(document.querySelectorAll('.lead .key .value')).map((one) => one.textContent)"
        assert set(opened.run(values)) == {""}
        page.hover(".lead .panel:nth-child(2) .u-over", position={"x": 60, "y": 60})
        opened.wait("document.querySelector('.lead .at').textContent !== ''")
        assert all(opened.run(values))
        assert "updates" in opened.run("document.querySelector('.lead .at').textContent")
        ink = """(() => {
            const canvas = document.querySelector('.lead .panel canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let blue = 0;
            for (let at = 0; at < data.length; at += 4) {
                blue += data[at] < 30 && data[at + 2] > 150 && data[at + 3] > 200;
            }
            return blue;
        })()"""
        assert opened.run(ink) > 50  # the first curve
        page.focus(".lead .key button")
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        assert opened.run(ink) == 0
        assert page.get_attribute(".lead .key button", "aria-pressed") == "false"
        page.click(".lead .key button")
        page.wait_for_timeout(100)
        assert opened.run(ink) > 50


def test_numbers_are_filtered_and_sorted(browser, folder):
    with Opened(browser, folder / "report.html") as opened:
        page = opened.page
        page.click("details.fold:has(.filter) > summary")
        page.click(".filter button[data-verdict=better]")
        shown = """Array.from(document.querySelectorAll('.filter + .table tbody tr')).filter((row) => !row.hidden)
            .map((row) => row.cells[1].textContent)"""
        assert opened.run(shown) == ["a", "c"]
        assert page.text_content(".filter output") == "2 rows"
        page.click(".filter button[data-verdict='']")
        assert len(opened.run(shown)) == 5
        page.click(".filter + .table th:has-text('paper') button")
        assert opened.run(shown)[1:] == ["b", "a", "c", "d"]
        page.click(".filter + .table th:has-text('paper') button")
        assert opened.run(shown)[:4] == ["d", "c", "a", "b"]


def test_a_command_is_copied(browser, folder):
    with Opened(browser, folder / "report.html") as opened:
        opened.run("document.execCommand = () => { window.copied = document.activeElement.value; return true; }")
        opened.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        opened.page.click(".lead .copy")
        opened.wait("window.copied === 'l2l x'")
        assert opened.page.text_content(".lead .copy") == "Copied"


def test_without_scripts_and_on_paper_the_stills_are_shown(browser, folder):
    page = browser.new_page(java_script_enabled=False)
    page.goto((folder / "report.html").as_uri())
    assert page.is_visible(".lead .still")
    page.close()
    with Opened(browser, folder / "report.html") as opened:
        opened.page.wait_for_selector(".lead .live canvas")
        assert not opened.page.is_visible(".lead .still")
        opened.page.emulate_media(media="print")
        assert opened.page.is_visible(".lead .still")
        assert not opened.page.is_visible(".lead .panels")
        assert not opened.page.is_visible(".copy")


def test_a_smoke_run_carries_a_ribbon(browser, tmp_path):
    reports.write(pages.whole(tmp_path, "Smoke run"), tmp_path)
    with Opened(browser, tmp_path / "report.html", PHONE) as opened:
        opened.run("scrollTo(0, 3000)")
        assert opened.page.query_selector(".ribbon").bounding_box()["y"] == 0  # in sight wherever a reader is


def test_contents_lead_to_every_section(browser, folder):
    with Opened(browser, folder / "report.html") as opened:
        opened.page.click(".contents a:has-text('All numbers')")
        opened.wait("document.querySelector('details.fold:has(.filter)').open")
        assert opened.page.is_visible(".filter")
