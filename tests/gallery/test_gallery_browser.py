"""The gallery in a real browser: Chromium without a window, driven by Playwright."""

import json
import os
import shutil

import gallery_pages
import numpy as np
import pytest

from experiments.assemble.excluded import names_in

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium here: apt-get install chromium")
HOSTILE = [
    "</script><script>window.hurt = 1</script>.png",
    "\"'><img src=x onerror='window.hurt = 2'>.png",
    "evil\u202egnp.exe",
    "nul\0name.png",
    "bytes\\udcff.png",
    "<!--<script>",
    "{{script}} $& {{data}}.png",
]
MANY = 20_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
        opened = driver.chromium.launch(executable_path=BROWSER, args=flags)
        yield opened
        opened.close()


class Opened:
    """A page with what it did: requests beyond itself, errors, violations of its policy."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(viewport={"width": 1300, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(5000)
        self.requests, self.problems = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.refused = []
        self.page.on("requestfailed", lambda request: self.refused.append(request.failure))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".card:not([hidden]), #nothing:not([hidden])")

    def settled(self):
        """Wait for the next frames, in which filters are carried out."""
        two = "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))"
        self.page.evaluate(two)

    def names(self):
        """Return the names on the cards, in the order of the list."""
        self.settled()
        cards = "[...document.querySelectorAll('#space .card:not([hidden])')]"
        order = ".sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
        names = ".map(card => card.querySelector('.name').title)"
        return self.page.evaluate(cards + order + names)

    def shown(self):
        """Return how many examples pass the filters."""
        self.settled()
        return int(self.page.inner_text("#count").split()[0].replace(",", ""))

    def check(self, key):
        """Make sure that nothing was fetched, refused or broken."""
        assert not self.problems
        own = [url for url in self.requests if not url.startswith(("blob:", "data:"))]
        assert len(own) == 1 and own[0].startswith("file:") and key in own[0]
        self.context.close()


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    names = [f"folder/{k:03d}.png" for k in range(300)]
    found = gallery_pages.rows(folder, names, outside=20)
    return found, gallery_pages.write(found, folder / "few.html")


def test_examples_are_sorted_by_what_is_asked_for(browser, few):
    rows, path = few
    opened = Opened(browser, path)
    influence, lam = rows.columns["influence"], rows.columns["lam"]
    known = np.flatnonzero(np.isfinite(influence))
    expected = known[np.argsort(-influence[known], kind="stable")]
    first = opened.names()
    assert len(first) > 10 and first == [rows.names[k] for k in expected[: len(first)]]
    opened.page.select_option("#sort", "lam")
    expected = known[np.argsort(lam[known], kind="stable")]
    assert opened.names() == [rows.names[k] for k in expected[: len(first)]]
    opened.page.click("#direction")
    expected = known[np.argsort(-lam[known], kind="stable")]
    assert opened.names() == [rows.names[k] for k in expected[: len(first)]]
    opened.page.select_option("#sort", "name")
    assert opened.names() == rows.names[: len(first)]
    opened.check("few.html")


def test_filters_let_through_what_they_say(browser, few):
    rows, path = few
    opened, c = Opened(browser, path), rows.columns
    page = opened.page
    assert opened.shown() == 300
    page.select_option("#pseudo", "1")
    assert opened.shown() == (c["pseudo"] == 1).sum()
    page.select_option("#truth", "0")
    assert opened.shown() == ((c["pseudo"] == 1) & (c["truth"] == 0)).sum()
    page.click("#clear")
    page.check("#wrong")
    assert opened.shown() == ((c["truth"] >= 0) & (c["pseudo"] != c["truth"])).sum()
    page.click("#clear")
    page.uncheck("#sources input[value='2']")
    assert opened.shown() == 280
    page.fill("[aria-label='λ, least']", "0.5")
    page.fill("[aria-label='λ, greatest']", "1.25")
    assert opened.shown() == ((c["lam"] >= 0.5) & (c["lam"] <= 1.25)).sum()
    page.fill("[aria-label='visits, least']", "4")
    inside = (c["lam"] >= 0.5) & (c["lam"] <= 1.25) & (c["visits"] >= 4)
    assert opened.shown() == inside.sum() > 0
    page.click("#clear")
    page.fill("#search", "FOLDER/01")
    assert opened.shown() == 10
    page.fill("#search", "nobody")
    assert opened.shown() == 0 and page.is_visible("#nothing")
    opened.check("few.html")


def test_the_histogram_is_a_brush(browser, few):
    rows, path = few
    opened = Opened(browser, path)
    box = opened.page.locator("#ranges svg").first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20, steps=4)
    opened.page.mouse.up()
    shown = opened.shown()
    low, high = (
        float(opened.page.input_value(f"[aria-label='λ, {end}']")) for end in ("least", "greatest")
    )
    lam = rows.columns["lam"]
    assert 0.4 < low < 0.6 and 0.9 < high < 1.1
    assert shown == ((lam >= np.float32(low)) & (lam <= np.float32(high))).sum() > 0
    opened.check("few.html")


def test_ticked_names_are_downloaded_and_copied_for_exclude(browser, few):
    rows, path = few
    opened = Opened(browser, path, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    assert page.is_disabled("#download")
    page.select_option("#sort", "order")
    for place in (2, 0, 5):
        page.click(f"#example-{place} .box")
    with page.expect_download() as download:
        page.click("#download")
    expected = "".join(f"{rows.names[k]}\n" for k in (0, 2, 5))
    assert download.value.suggested_filename == "exclude.txt"
    with open(download.value.path(), "rb") as file:
        assert file.read() == expected.encode()
    page.click("#copy")
    page.locator("#said", has_text="Copied 3 names.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == expected
    page.reload()  # ticks are still there
    page.wait_for_selector(".card:not([hidden])")
    assert page.inner_text("#count") == "300 of 300 shown, 3 ticked"
    page.select_option("#scope", "shown")
    with page.expect_download() as download:
        page.click("#download")
    with open(download.value.path()) as file:  # not those of V, which cannot be excluded
        assert sorted(file.read().splitlines()) == rows.names[:280]
    assert "20 labeled, validation or test examples left out" in page.inner_text("#said")
    opened.requests = opened.requests[:1]
    opened.check("few.html")


def test_keys_alone_reach_everything(browser, few):
    rows, path = few
    opened = Opened(browser, path)
    page = opened.page
    page.keyboard.press("/")
    # In one go, as fast as nobody types: no frame lies between the last letter and Enter.
    page.evaluate("""() => {
        const search = document.getElementById('search');
        search.value = '00';
        search.dispatchEvent(new Event('input'));
        search.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
    }""")
    assert opened.shown() == len([name for name in rows.names if "00" in name])
    active = "document.getElementById('grid').getAttribute('aria-activedescendant')"
    assert page.evaluate(active) == "example-0"
    for key in ("ArrowRight", "Space", "ArrowRight", "p"):
        page.keyboard.press(key)
    assert page.evaluate(active) == "example-2"
    assert page.get_attribute("#example-1", "aria-selected") == "true"
    assert page.locator("#pinned .card").count() == 1
    assert page.locator("#detail svg").get_attribute("aria-label").startswith("λ from 1.00 at the")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    unnamed = """[...document.querySelectorAll('button, input, select, [role=listbox]')].filter(
        e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))"""
    assert page.evaluate(f"{unnamed}.map(e => e.outerHTML)") == []
    opened.check("few.html")


def test_dark_mode_follows_the_system_and_the_switch(browser, few):
    _, path = few
    back = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(251, 251, 252)", "rgb(20, 23, 26)"
    opened = Opened(browser, path, color_scheme="dark")
    assert opened.page.evaluate(back) == dark
    opened.page.click("#theme")
    assert opened.page.evaluate(back) == light
    opened.check("few.html")


def test_a_narrow_screen_scrolls_in_one_direction_only(browser, few):
    _, path = few
    opened = Opened(browser, path)
    opened.page.set_viewport_size({"width": 360, "height": 640})
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    assert not opened.page.is_visible("#search")
    opened.page.click("#open-filters")
    assert opened.page.is_visible("#search")
    opened.check("few.html")


def test_small_influences_fit_on_a_card(browser, tmp_path):
    found = gallery_pages.rows(tmp_path, [f"{k}.png" for k in range(40)])
    found.columns["influence"][:3], found.columns["error"][:3] = (0.018, -1.2e-4, 0.11), 7.3e-4
    opened = Opened(browser, gallery_pages.write(found, tmp_path / "small.html"))
    opened.page.select_option("#sort", "order")
    opened.settled()
    text = "n => document.querySelector(`#example-${n} .numbers + .numbers`).innerText"
    assert opened.page.evaluate(text, 0) == "infl. +0.018 ± 7e−4"
    assert opened.page.evaluate(text, 1) == "infl. −1.2e−4 ± 7e−4"
    for width in range(1100, 1280, 20):  # cards of all widths
        opened.page.set_viewport_size({"width": width, "height": 800})
        opened.settled()
        cut = (
            "[...document.querySelectorAll('.numbers')].filter(e => e.scrollWidth > e.clientWidth)"
        )
        assert opened.page.evaluate(f"{cut}.map(e => e.innerText)") == []
    opened.check("small.html")


def test_names_of_several_lines_make_a_table(browser, tmp_path):
    names = ["two\nlines.png", '=1+1"', "-5", "plain.png"]
    found = gallery_pages.rows(tmp_path, names)
    opened = Opened(browser, gallery_pages.write(found, tmp_path / "lines.html"))
    opened.page.select_option("#scope", "shown")
    opened.page.select_option("#sort", "order")
    with opened.page.expect_download() as download:
        opened.page.click("#download")
    assert download.value.suggested_filename == "exclude.csv"
    download.value.save_as(tmp_path / "exclude.csv")
    assert names_in(str(tmp_path / "exclude.csv")) == names
    opened.check("lines.html")


@pytest.mark.parametrize("as_texts", [False, True], ids=["names", "texts"])
def test_hostile_names_and_texts_are_shown_and_not_run(browser, tmp_path, as_texts):
    texts = HOSTILE if as_texts else None
    found = gallery_pages.rows(tmp_path, HOSTILE, texts=texts, classes=(HOSTILE[0], HOSTILE[1]))
    opened = Opened(browser, gallery_pages.write(found, tmp_path / "bad.html"))
    opened.page.select_option("#sort", "order")
    expected = [name.replace("\u202e", "\\u202e").replace("\0", "\\u0000") for name in HOSTILE]
    assert opened.names() == expected
    for place in range(len(HOSTILE)):
        opened.page.click(f"#example-{place} .numbers >> nth=0")
        assert opened.page.inner_text("#detail h2") == expected[place]
    assert opened.page.evaluate("window.hurt") is None
    assert opened.page.evaluate("document.scripts.length") <= 4
    opened.page.select_option("#scope", "shown")
    with opened.page.expect_download() as download:
        opened.page.click("#download")
    with open(download.value.path(), "rb") as file:  # names as they are
        assert file.read() == "".join(f"{name}\n" for name in HOSTILE).encode()
    opened.check("bad.html")


def test_the_policy_refuses_what_is_not_of_the_page(browser, few, tmp_path):
    """A script or a picture that somebody slips in is neither run nor fetched."""
    _, path = few
    text = path.read_text()
    bad = '<img src="http://localhost:9/x.png"><script>window.hurt = 1</script></body>'
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace("</body>", bad))
    opened = Opened(browser, changed)
    assert opened.page.evaluate("window.hurt") is None
    assert (
        len([problem for problem in opened.problems if "Content Security Policy" in problem]) == 2
    )
    assert opened.refused == ["csp"]
    opened.context.close()


def test_sheets_beside_the_page_are_shown(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.gallery.page.INSIDE", 10)
    found = gallery_pages.rows(tmp_path, [f"{k}.png" for k in range(30)])
    path = gallery_pages.write(found, tmp_path / "large.html")
    assert (tmp_path / "large-pictures" / "0000.jpg").exists()
    opened = Opened(browser, path)
    opened.page.wait_for_load_state("networkidle")
    assert [url.rsplit("/", 1)[1] for url in opened.requests] == ["large.html", "0000.jpg"]
    assert not opened.problems
    opened.context.close()


FRAMES = """async () => {
  const grid = document.getElementById('grid'), times = [], nodes = [];
  let last = performance.now();
  for (let k = 0; k < 60; k += 1) {
    grid.scrollTop += k % 6 ? 900 : 60000;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    nodes.push(document.querySelectorAll('*').length);
    last = now;
  }
  return [times, Math.max(...nodes), grid.scrollHeight];
}"""


def test_twenty_thousand_examples_keep_the_document_small(browser, tmp_path, record_property):
    found = gallery_pages.rows(tmp_path, [f"{k}.png" for k in range(MANY)], moments=20)
    opened = Opened(browser, gallery_pages.write(found, tmp_path / "many.html"))
    assert opened.shown() == MANY
    times, nodes, height = opened.page.evaluate(FRAMES)
    assert nodes < 1500 and height > 100_000
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("1999")
    assert opened.shown() == sum("1999" in name for name in found.names)
    told = {f"{q} %": round(float(np.quantile(times, q / 100)), 1) for q in (50, 95, 100)}
    record_property("milliseconds a frame while scrolling", json.dumps(told))
    print(f"milliseconds a frame while scrolling: {told}, {nodes} nodes")
    opened.check("many.html")
