"""The report in a real browser, from disk and without a network: it opens, and it answers to clicks and keys."""

import re
from pathlib import Path
from typing import Any

import pytest
from opening import Opened

pytestmark = pytest.mark.browser
SCREENS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]


def rows(opened: Opened) -> list[str]:
    """Claims that the verdict table shows, in order."""
    seen = "rows => rows.filter(row => row.offsetHeight > 0).map(row => row.id)"
    return list(opened.page.eval_on_selector_all("tr.claim", seen))


def test_it_opens_quickly(browser: Any, report_file: Path) -> None:
    """The quickest of three openings: other work on the machine only ever adds to one."""
    seconds = []
    for _ in range(3):
        found = Opened(browser, report_file, 1400, "light")
        seconds.append(found.seconds)
        found.context.close()
    assert min(seconds) < 3, seconds


def test_it_is_small_and_asks_for_nothing(opened: Opened, report_file: Path) -> None:
    assert report_file.stat().st_size < 8_000_000
    drawn = opened.draw_all()
    assert drawn >= 8
    assert opened.problems == []
    assert {url.split(":")[0] for url in opened.requests} <= {"file", "blob", "data"}
    assert [url for url in opened.requests if url.startswith("file:")] == [report_file.as_uri()]


@pytest.mark.parametrize("opened", SCREENS, indirect=True)
def test_nothing_is_wider_than_the_page_and_axe_finds_nothing_serious(
    opened: Opened, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, width = opened.page, opened.page.viewport_size["width"]
    page.locator("#P1 .opens").click()
    assert opened.draw_all() >= 9  # P1's own among them
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page).response["violations"]
    grave = {item["id"]: [node["html"][:120] for node in item["nodes"][:3]] for item in found if _grave(item)}
    assert grave == {}
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 100_000
    assert opened.problems == []


def _grave(item: dict[str, str]) -> bool:
    return item["impact"] in ("serious", "critical")


def test_rows_sort_by_click_and_by_key(opened: Opened) -> None:
    page, first = opened.page, rows(opened)
    estimates = dict(
        page.eval_on_selector_all("tr.claim", "rows => rows.map(row => [row.id, parseFloat(row.dataset.estimate)])")
    )
    button = page.locator("#verdict-table thead button", has_text="Estimate")
    button.click()
    rising = [estimates[name] for name in rows(opened) if estimates[name] == estimates[name]]
    assert rising == sorted(rising) and len(rising) > 3 and rows(opened) != first
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    falling = [estimates[name] for name in rows(opened) if estimates[name] == estimates[name]]
    assert falling == rising[::-1]
    assert estimates[rows(opened)[-1]] != estimates[rows(opened)[-1]]  # those without a number stay last
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.locator("#verdict-table thead button", has_text="Claim").press("Space")
    assert rows(opened) == first


def test_an_infinite_estimate_is_the_largest_and_no_number_stays_last(opened: Opened) -> None:
    page = opened.page
    page.evaluate("""() => {
        document.getElementById('P1').dataset.estimate = 'Infinity';
        document.getElementById('G1').dataset.estimate = '-Infinity';
    }""")
    button = page.locator("#verdict-table thead button", has_text="Estimate")
    number = "row => row.dataset.estimate !== ''"
    button.click()
    known = page.eval_on_selector_all("tr.claim", f"rows => rows.filter({number}).map(row => row.id)")
    assert rows(opened)[: len(known)] == known and (known[0], known[-1]) == ("G1", "P1") and len(known) > 3
    button.click()
    assert rows(opened)[0] == "P1" and rows(opened)[len(known) - 1] == "G1"


@pytest.mark.parametrize("opened", SCREENS[::2], indirect=True)
def test_rows_filter_by_text_and_verdict(opened: Opened) -> None:
    page, everyone = opened.page, rows(opened)
    page.locator("#verdict-filter").fill("gelu")
    some = rows(opened)
    assert "G3" in some and 0 < len(some) < len(everyone)
    assert page.locator("#verdict-count").inner_text() == f"{len(some)} of {len(everyone)} claims"
    page.locator("#verdict-filter").fill("no such words anywhere")
    assert rows(opened) == [] and page.locator("#verdict-none").is_visible()
    page.locator("#verdict-clear").click()
    assert rows(opened) == everyone
    chip = page.locator('.chip[data-verdict="no_effect"]')
    chip.press("Enter")
    kept = page.eval_on_selector_all("tr.claim:not([hidden])", "rows => rows.map(row => row.dataset.verdict)")
    assert set(kept) == {"no_effect"} and len(kept) == int(chip.locator("b").inner_text())
    assert chip.get_attribute("aria-pressed") == "true"
    chip.click()
    assert rows(opened) == everyone


def test_a_row_opens_to_its_figure_and_strata(opened: Opened) -> None:
    page = opened.page
    button, detail = page.locator("#P1 .opens"), page.locator("#detail-P1")
    assert button.get_attribute("aria-expanded") == "false" and detail.is_hidden()
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true" and detail.is_visible()
    words = detail.inner_text()
    assert "internal minus scratch" in words and re.search(r"\d+ seeds", words) and "Contrast" in words
    detail.locator("figure[data-drawn]").wait_for(timeout=60_000)
    assert detail.locator(".plot .point").count() > 1
    detail.locator("details.strata summary").click()
    listed = detail.locator("details.strata tbody tr")
    listed.first.wait_for()
    promised = int(re.search(r"All (\d+)", detail.locator("summary").inner_text())[1])
    assert listed.count() == promised
    detail.locator("details.strata input").fill("corrigible")
    shown = detail.locator("details.strata tbody tr:visible").all_inner_texts()
    assert 0 < len(shown) < promised and all("corrigible" in text for text in shown)
    button.click()
    assert detail.is_hidden()


def test_a_figure_hides_series_and_zooms_by_click_and_key(opened: Opened) -> None:
    page = opened.page
    figure = page.locator("#figure-headline")
    figure.scroll_into_view_if_needed()
    page.locator("#figure-headline[data-drawn]").wait_for(timeout=60_000)
    plot = figure.locator(".plot").first
    lines, entry = plot.locator(".scatterlayer .trace"), figure.locator(".legend button").first
    before = lines.count()
    assert before > 2
    entry.click()
    page.wait_for_function("([plot, before]) => plot.querySelectorAll('.scatterlayer .trace').length < before",
                           arg=[plot.element_handle(), before])  # fmt: skip
    assert entry.get_attribute("aria-pressed") == "false"
    entry.press("Enter")
    page.wait_for_function("([plot, before]) => plot.querySelectorAll('.scatterlayer .trace').length === before",
                           arg=[plot.element_handle(), before])  # fmt: skip

    def span() -> float:
        low, high = plot.evaluate("plot => plot._fullLayout.xaxis.range")
        return float(high - low)

    whole = span()
    figure.locator(".zoom button").first.click()
    page.wait_for_timeout(300)
    assert span() == pytest.approx(0.8 * whole, rel=1e-3)
    figure.locator(".panels").press("+")
    page.wait_for_timeout(300)
    assert span() == pytest.approx(0.64 * whole, rel=1e-3)
    start = plot.evaluate("plot => plot._fullLayout.xaxis.range[0]")
    figure.locator(".panels").press("ArrowRight")
    page.wait_for_timeout(300)
    assert plot.evaluate("plot => plot._fullLayout.xaxis.range[0]") == pytest.approx(start + 0.064 * whole, rel=1e-3)
    figure.locator(".panels").press("0")
    page.wait_for_timeout(300)
    assert span() == pytest.approx(whole, rel=1e-3)
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert span() < 0.6 * whole


def test_hovering_tells_value_interval_and_n(opened: Opened) -> None:
    page = opened.page
    page.locator("#figure-headline").scroll_into_view_if_needed()
    page.locator("#figure-headline[data-drawn]").wait_for(timeout=60_000)
    plot = page.locator("#figure-headline .plot").first
    box = plot.locator(".point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hoverlayer .hovertext")
    label.first.wait_for(timeout=20_000)
    assert re.search(r"\[.*\].*n = \d+", label.first.text_content())


def test_the_theme_follows_the_system_and_the_button(opened: Opened) -> None:
    page = opened.page

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.locator("#theme").press("Enter")
    dark = ground()
    assert dark != light and page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.reload()
    assert ground() == dark  # remembered
    page.locator("#theme").click()
    assert ground() == light
    page.evaluate("localStorage.clear()")
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert ground() == dark


def test_tables_and_pictures_are_saved(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    for selector, name, opening in (
        ('[data-csv="claims"]', "claims.csv", b"order,"),
        ('#figure-headline [data-save="svg"]', "headline.svg", b"<svg"),
        ('#figure-headline [data-save="png"]', "headline.png", b"\x89PNG"),
    ):
        with page.expect_download(timeout=60_000) as waited:
            page.locator(selector).click()
        assert waited.value.suggested_filename == name
        waited.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(opening) and (tmp_path / name).stat().st_size > 2000


def test_the_first_tab_skips_to_the_verdicts(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(width.removesuffix("px")) >= 2
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#verdicts"
