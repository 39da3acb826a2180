"""The page in Chromium: live, inert, whole on a phone, and alone with its server.

Skipped where Chromium or playwright is missing (`apt install chromium`, `pip install playwright`).

    python -m pytest -n 0 -s tests/dashboard/test_browser.py

also prints how long a new keep takes from its event to the page.
"""

import contextlib
import dataclasses
import shutil
import time
from urllib.parse import urlsplit

import pytest

from analysis.ledger import Ledger
from tests.support.recorded_repo import RUN, another_keep, dashboard, recorded_repo

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SIZES = {"desktop": (1280, 900), "phone": (360, 740)}

TABS = ("", "/changes", "/lineage", "/slices", "/money", "/checks")

IN_VIEW = "document.documentElement.scrollWidth <= window.innerWidth"
DRAWN = "[...document.querySelectorAll('canvas')].every((c) => Chart.getChart(c))"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return a recorded repository that these tests add to."""
    return recorded_repo(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def base(mine):
    """Return the address of a served page."""
    with dashboard(mine.path) as at:
        yield f"http://{at.netloc}"


@pytest.fixture(scope="module")
def chromium(mine):
    """Return a running Chromium; the run is recorded before, as both need an event loop."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def browsing(chromium, size="desktop", **options):
    """Yield a page; afterwards nothing was complained of, and no request had left loopback."""
    width, height = SIZES[size]
    context = chromium.new_context(viewport={"width": width, "height": height}, **options)
    page, complaints, hosts = context.new_page(), [], set()
    page.on("console", lambda said: complaints.append(said.text) if said.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda asked: hosts.add(urlsplit(asked.url).hostname))
    yield page
    context.close()
    assert complaints == []
    assert hosts == {"127.0.0.1"}


def test_a_new_keep_shows_and_a_click_shows_its_diff(chromium, base, mine):
    """Without a reload; the reader of the page is told of it, too."""
    with browsing(chromium) as page:
        page.goto(f"{base}/runs/{RUN}")
        page.wait_for_selector("#link.live")
        number, events = another_keep(mine)
        with Ledger.open(mine.ledger, time.time) as ledger:
            ledger.extend(events)
        began = time.perf_counter()
        line = page.wait_for_selector(f"#headlines .kept a[href$='/changes/{number}']")
        print(f"\n{1e3 * (time.perf_counter() - began):.0f} ms from its event to the events")
        assert "Try <b>tea</b>" in line.inner_text()
        link = page.wait_for_selector(f"#kept a[href$='/changes/{number}']")
        print(f"{1e3 * (time.perf_counter() - began):.0f} ms to the kept changes")
        assert "Try <b>tea</b>" in link.inner_text()
        page.wait_for_function(f"document.getElementById('news').textContent.includes('#{number}')")
        page.click(f"#kept a[href$='/changes/{mine.kept.experiment}']")
        page.wait_for_selector(".diff .added")
        assert "+X = 0.2" in page.inner_text(".diff")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_whole_and_inert(chromium, base, mine, size, scheme):
    """No sideways scrolling, charts drawn, hostile text as text, no complaint of the browser."""
    change = f"/changes/{mine.kept.experiment}"
    with browsing(chromium, size, color_scheme=scheme) as page:
        for tab in (*TABS, change) if scheme == "light" else ("", change):
            page.goto(f"{base}/runs/{RUN}{tab}")
            page.wait_for_selector("#link.live")
            page.wait_for_function(DRAWN)
            assert page.evaluate(IN_VIEW), (tab, size)
            assert "owned" not in page.title()
        assert "</pre><script>document.title" in page.inner_text(".diff")


def test_it_reads_without_script(chromium, base):
    """The charts are then the pictures of `swarm plot`."""
    with browsing(chromium, java_script_enabled=False) as page:
        page.goto(f"{base}/runs/{RUN}")
        assert page.locator("noscript img").count() >= 1
        page.click("text=Experiments")
        assert page.locator("table.list tbody tr").count() > 10


def test_a_keyboard_reaches_the_evidence(chromium, base):
    """From the skip link on; every chart, table and field has a name for a screen reader."""
    with browsing(chromium) as page:
        page.goto(f"{base}/runs/{RUN}")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        for _ in range(20):
            page.keyboard.press("Tab")
            if "/changes/" in (page.evaluate("document.activeElement.getAttribute('href')") or ""):
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/changes/*")
        page.goto(f"{base}/runs/{RUN}/changes")
        for field in page.locator("select, input, button, canvas, [role=region]").all():
            named = "e => e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')"
            assert field.evaluate(named)


def test_a_page_kept_open_outlives_its_server(chromium, tmp_path, mine):
    """It says that there is no connection."""
    copy = dataclasses.replace(mine, path=tmp_path / "repo")
    shutil.copytree(mine.path, copy.path)
    context = chromium.new_context()
    page = context.new_page()
    with dashboard(copy.path) as at:
        page.goto(f"http://{at.netloc}/runs/{RUN}")
        page.wait_for_selector("#link.live")
    page.wait_for_selector("#link.lost")
    assert page.locator("#kept li").count() > 0
    context.close()
