"""The page of a study in a real Chromium, from a file, without a network."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from page_study import GPU, HOSTILE
from visits import TREATED, Visit, number, open_all, shown

VISIBLE = """
() => [...document.querySelectorAll('td[data-k]')].filter(td => !td.classList.contains('apart'))
  .map(td => td.querySelector('button')).filter(button => button.checkVisibility()).map(button => button.dataset.c)
"""
# The least contrast of any text that is shown with what lies behind it (WCAG 2: relative luminance).
CONTRAST = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => { for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor); if (colour[3] === 255) return colour; }
    return [255, 255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.data.trim().slice(0, 40);
    if (!words || element.closest('script, .vh, .skip, :disabled') || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const colour = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [light(rgba(colour)), light(behind(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.className.baseVal ?? element.className, words]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}
"""
NAMELESS = """
() => [...document.querySelectorAll('button, select, input, a, summary, [tabindex="0"], img, svg')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('alt') || e.closest('label')?.textContent.trim()
    || e.textContent.trim() || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent.trim()))
  .map(e => e.outerHTML.slice(0, 200))
"""


def test_a_number_opens_its_ancestry_beside_it(visit: Visit) -> None:
    page = visit()
    assert page.locator("#panel").is_hidden()
    button = number(page, TREATED)
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.locator("#panel-title").inner_text() == "Treated, films <PCC>"
    text = shown(page)
    for fact in ("0.540", "± 0.010", "Published: 0.545", "inside our interval", "films.et.cwl – 6 replicas", "2 files",
                 "aaaaaaaaaaaa", "desk:", f"utopia verify --study tiny --retrain {TREATED}", "better"):  # fmt: skip
        assert fact in text, fact
    assert "sha256" not in text and len(text) < 1500  # collapsed to what matters
    table, panel = page.locator("#verdicts table").bounding_box(), page.locator("#panel").bounding_box()
    assert panel["x"] >= table["x"] + table["width"]
    open_all(page)
    text = shown(page)
    assert re.search(r"raw/films/one\.mp4.*\n?[0-9a-f]{64}", text) and "<b>two</b>.mp4" in text
    assert "raw/songs" not in text and "songs.et" not in text
    assert "train_films_et" in text and "and 2 files of other runs" in text and "12 files (checkpoints" in text
    assert '"treatment": "cwl"' in text and "utopia.evaluation.metrics" in text and "numpy" in text
    button.click()
    assert page.locator("#panel").is_hidden()


def test_every_result_opens_and_says_what_its_cell_says(visit: Visit) -> None:
    page = visit()
    buttons = page.locator("button.n")
    assert buttons.count() == 10
    for place in range(10):
        button = buttons.nth(place)
        button.click()
        if button.get_attribute("data-c"):
            main = button.locator("b").inner_text()
            big = page.locator("#panel .big").inner_text()
            assert big == main or big.split(" ")[0] == main
        open_all(page)


def test_rounding_is_that_of_the_tables(visit: Visit) -> None:
    """Values that are halfway in binary go to the even neighbour, as in Python."""
    page = visit()
    source = page.evaluate("document.scripts[document.scripts.length - 1].textContent")
    function = re.search(r"function rounded\(.*?\n}\n", source, re.DOTALL)
    assert function
    cases = [
        (0.125, 2),
        (0.375, 2),
        (2.5, 0),
        (3.5, 0),
        (1.005, 2),
        (-0.0004, 3),
        (-2.5, 0),
        (1e-9, 4),
        (12345.6785, 3),
    ]
    script = f"(cases) => {{ const minus = (words) => words; {function[0]} return cases.map(c => rounded(...c)); }}"
    expected = [text.lstrip("-") if not float(text) else text for text in (f"{v:.{d}f}" for v, d in cases)]
    assert page.evaluate(script, cases) == expected


def test_holes_and_quoted_numbers_say_why(visit: Visit) -> None:
    page = visit()
    number(page, "verdicts/gone/films").click()
    assert "Absent: its data are under an agreement" in shown(page) and "Published: 0.600" in shown(page)
    number(page, "quoting/others/films").click()
    assert "Quoted from A paper, Table 2" in shown(page) and "utopia verify" not in shown(page)
    assert "Not drawn: gone: no such run" in page.locator("#curve").inner_text()
    assert (
        "published 0.900" in page.locator("#verdicts").inner_text()
        and "outside by" in page.locator("#verdicts").inner_text()
    )


def test_a_figure_has_an_ancestry_too(visit: Visit) -> None:
    page = visit()
    image = page.locator("#curve img")
    image.scroll_into_view_if_needed()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    image.click()
    page.locator("#zoomed img").wait_for()
    assert page.locator("#zoomed img").bounding_box()["width"] > image.bounding_box()["width"]
    page.keyboard.press("Escape")
    assert page.locator("#zoomed").is_hidden()
    page.locator("#curve button.origin").click()
    assert "films.et.cwl" in shown(page) and "curve.pdf" in shown(page) and "2 files" in shown(page)


def test_by_keyboard_alone(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        if place := page.evaluate("document.activeElement.dataset.c"):
            seen.append(place)
            if place == "0.2":
                break
    assert seen[-1] == "0.2" and seen == sorted(seen)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "panel-title"
    page.keyboard.press("Tab")  # the button that closes stands in the head of the panel
    for _ in range(12):
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#panel details[open] table").wait_for()  # what is folded is made when it is opened
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    assert page.evaluate("document.activeElement.dataset.c") == "0.2"


def test_filter_by_verdict(visit: Visit) -> None:
    page = visit()
    everything = page.evaluate(VISIBLE)
    assert len(everything) == 9
    page.select_option("#f-kind", "outside unclear fails")
    assert len(page.evaluate(VISIBLE)) == 2, "one value outside, one statement that does not hold"
    page.select_option("#f-kind", "outside")
    (only,) = page.evaluate(VISIBLE)
    assert page.locator(f'[data-c="{only}"] b').inner_text() == "0.700"
    assert page.locator("#f-found").inner_text() == "1 cell and 0 figures of 10 results"
    assert page.locator("#quoting").is_hidden() and page.locator("#curve").is_hidden()
    page.click("#f-next")
    assert "outside by" in shown(page)
    page.click("#f-clear")
    assert page.evaluate(VISIBLE) == everything
    page.click('.chip[data-kind="absent"]')
    assert len(page.evaluate(VISIBLE)) == 1 and page.locator("#f-kind").input_value() == "absent"
    page.click('.chip[data-kind="absent"]')
    assert page.evaluate(VISIBLE) == everything


def rows(page: Any) -> set[str]:
    places = page.evaluate(VISIBLE)
    return {page.locator(f'tr:has([data-c="{place}"]) th').first.inner_text().split("\n")[0] for place in places}


def test_filter_by_what_has_touched(visit: Visit) -> None:
    page = visit()
    page.select_option("#f-by", "gpu")
    assert page.locator("#f-what").input_value() == GPU["uuid"]  # there is but one
    assert len(page.evaluate(VISIBLE)) == 2
    page.fill("#f-what", GPU["uuid"].removeprefix("GPU-")[:8])
    assert len(page.evaluate(VISIBLE)) == 2
    page.select_option("#f-by", "host")
    page.fill("#f-what", "node7")
    assert len(page.evaluate(VISIBLE)) == 2 and "Another model" in " ".join(rows(page))
    page.select_option("#f-by", "input")
    page.fill("#f-what", "song.mp3")
    (only,) = page.evaluate(VISIBLE)
    assert page.locator(f'[data-c="{only}"] b').inner_text() == "0.300"
    page.fill("#f-what", "raw/films/one.mp4")
    assert len(page.evaluate(VISIBLE)) == 6 and page.locator("#curve button.origin").is_visible()
    page.select_option("#f-by", "commit")
    page.fill("#f-what", "bbbb")
    assert len(page.evaluate(VISIBLE)) == 2
    page.fill("#f-what", "cccc")
    assert page.evaluate(VISIBLE) == [] and page.locator("#f-next").is_disabled()


def test_an_address_names_a_number(visit: Visit) -> None:
    page = visit(f"#={TREATED}")
    assert page.locator("#panel-title").inner_text() == "Treated, films <PCC>"
    number(page, "verdicts/rmn/films").click()
    assert page.url.endswith("#=verdicts%2Frmn%2Ffilms")
    page.keyboard.press("Escape")
    assert "#" not in page.url


@pytest.mark.parametrize("width", [1440, 420])
def test_how_a_model_used_its_parts_is_told_in_words_that_fit(visit: Visit, width: int) -> None:
    """Diagnostics over the replicas, a dash where nothing was measured, and those of each replica behind a fold."""
    page = visit("#=verdicts/rmn/films", viewport={"width": width, "height": 900})
    page.locator("summary", has_text="How the model used its parts").click()
    part = page.locator("details", has=page.get_by_text("How the model used its parts"))
    table = part.locator("table").first
    told = [row.split("\t") for row in table.inner_text().splitlines() if "\t" in row]
    assert told[0] == ["over the replicas", "mean", "least", "most"]
    assert ["share of choices that replaced a row", "0.25", "0.25", "0.25"] in told
    assert ["temporal-difference error, in rewards", "–", "–", "–"] in told
    assert part.evaluate("e => e.querySelector('.wide').scrollWidth <= e.querySelector('.wide').clientWidth")
    part.locator("summary", has_text="Of each replica").click()
    part.locator("table", has_text="td_error").wait_for()


def test_markup_in_data_is_shown_and_not_run(visit: Visit) -> None:
    page = visit()
    assert HOSTILE in page.locator("#verdicts h2").inner_text()
    for place in range(10):
        page.locator("button.n").nth(place).click()
        open_all(page)
    assert page.evaluate("window.wasRun") is None
    assert page.locator("main img").count() == 1 and page.locator("#panel img, #panel script").count() == 0
    assert page.locator("b:has-text('two')").count() == 0


def test_the_policy_forbids_everything_from_elsewhere(visit: Visit) -> None:
    page = visit()
    # Playwright's own waiting for an expression asks the page to evaluate text, which the policy refuses too.
    refused = page.evaluate(
        """() => new Promise(done => { const refused = [];
        document.addEventListener('securitypolicyviolation', e => {
            refused.push(e.effectiveDirective); if (refused.length >= 6) done(refused); });
        const add = (name, attributes) => document.body.append(Object.assign(document.createElement(name), attributes));
        add('img', {src: 'https://example.org/a.png'}); add('script', {textContent: 'window.wasRun = true'});
        add('script', {src: 'https://example.org/a.js'}); add('link', {rel: 'stylesheet', href: 'https://example.org/a.css'});
        add('iframe', {src: 'https://example.org/'}); fetch('https://example.org/').catch(() => {}); })"""
    )
    assert {"img-src", "script-src-elem", "style-src-elem", "frame-src", "connect-src"} <= set(refused)
    assert page.evaluate("window.wasRun") is None
    # Chromium reports each refusal, and Playwright each address that was refused.
    visit.faults.clear()  # type: ignore[attr-defined]
    visit.asked.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    number(page, "verdicts/rmn/films").click()
    open_all(page)
    found = page.evaluate(CONTRAST)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]
    number(page, "verdicts/cwl/films").click()
    assert page.evaluate(CONTRAST)[0][0] >= 4.5


def test_colours_follow_the_system_until_somebody_chooses(visit: Visit) -> None:
    page = visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    assert dark != light
    page.click('[data-theme-choice="dark"]')
    assert page.evaluate(background) == dark
    assert page.locator('[data-theme-choice="dark"]').get_attribute("aria-pressed") == "true"
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(background) == dark  # it is remembered
    page.click('[data-theme-choice="auto"]')
    assert page.evaluate(background) == light


def test_it_prints_in_black_on_white_without_controls(visit: Visit, tmp_path: Path) -> None:
    page = visit(color_scheme="dark")
    number(page, "verdicts/rmn/films").click()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in (".filters", ".theme", ".contents", "#panel-close"):
        assert page.locator(hidden).is_hidden()
    assert page.locator("#verdicts table").is_visible() and page.locator("#panel").is_visible()
    assert page.evaluate(CONTRAST)[0][0] >= 4.5
    page.set_viewport_size({"width": 700, "height": 990})  # A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("width", [320, 390, 768, 1100])
def test_it_fits_narrow_screens(visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    number(page, TREATED).click()
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#panel").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= 800 + 1
    assert page.locator("#panel-close").is_visible()


def test_what_a_screen_reader_needs(visit: Visit) -> None:
    page = visit()
    number(page, TREATED).click()
    open_all(page)
    assert page.evaluate(NAMELESS) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    named = page.evaluate(
        """[...document.querySelectorAll('[aria-controls], [aria-labelledby], a[href^="#"]')].flatMap(e =>
        ['aria-controls', 'aria-labelledby', 'href'].map(name => e.getAttribute(name)).filter(Boolean))
        .map(name => name.replace('#', '')).filter(name => !name.startsWith('..') && !name.startsWith('='))"""
    )
    assert set(named) <= set(ids)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en" and page.title()
    heads = page.evaluate(
        "[...document.querySelectorAll('th')].every(th => ['col', 'row', 'rowgroup'].includes(th.scope))"
    )
    assert heads
    assert page.locator("#panel").get_attribute("aria-labelledby") == "panel-title"
    assert page.locator("#f-found").get_attribute("aria-live") == "polite"
    tree = page.locator("#verdicts").aria_snapshot()
    assert 'button "0.540 ± 0.010"' in tree and 'rowheader "Treated"' in tree and "columnheader" in tree
    assert page.evaluate("[...document.querySelectorAll('button')].every(b => b.type === 'button')")


def test_without_scripts_all_numbers_are_there(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    text = page.locator("main").inner_text()
    assert "0.540" in text and "published 0.545" in text and "outside by" in text
    assert "Without JavaScript" in page.locator("header").inner_text()
