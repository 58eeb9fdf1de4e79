"""The report page in Chromium, opened from a file."""

import base64
import io
import json
import os
import pathlib
import time

import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image
from run_directory import write_run
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from nst_jax.report import write_report
from nst_jax.report.page import write_page
from nst_jax.report.run_directory import read_run
from nst_jax.report.video import write_mp4
from nst_jax.workdir.metrics_log import read_metrics

CHROMIUM = pathlib.Path("/usr/bin/chromium"), pathlib.Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXES = [
    ("seed", ("0", "1")),
    ("content weight", ("0", "0.2", "1")),
    ("style weight", ("1", "3", "9", "27")),
]


class Browser:
    """A headless Chromium with its console and network logs."""

    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM[0])
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        logs = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", logs)
        self.driver = webdriver.Chrome(options, Service(str(CHROMIUM[1])))
        self.run = self.driver.execute_script

    def open(self, run, width=1280, height=900):
        """Open a run's page."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**screen, "mobile": width < 600}
        )
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get((run / "report.html").resolve().as_uri())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def panel(self, member):
        return self.find(f".panel[data-member='{member}']")

    def choose(self, selector, value):
        self.find(f"{selector} option[value='{value}']").click()

    def wait(self, script):
        """Wait until a script returns a true value, and return it."""
        return WebDriverWait(self.driver, 20, 0.05).until(lambda _: self.run(script))

    def curves(self):
        """Return the data of the two charts once they are drawn."""
        self.run("document.querySelector('#loss').scrollIntoView()")
        self.wait("return document.querySelector('#terms').data")
        return self.run(
            "const read = (id) => document.querySelector(id)?.data.map("
            "({name, x, y}) => ({name, x, y: Array.from(y)}));"
            "return [read('#total'), read('#terms')]"
        )

    def screenshot(self, selector):
        """Return an element as displayed, int [H, W, 3] from 0 to 255."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        with Image.open(io.BytesIO(element.screenshot_as_png)) as image:
            return np.asarray(image.convert("RGB"), int)

    def canvas(self):
        """Return the canvas, int [H, W, 3] from 0 to 255."""
        url = self.run("return document.querySelector('canvas').toDataURL()")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGB"), int)

    def pixels(self, selector):
        """Return a decoded image of the page, int [H, W, 3] from 0 to 255."""
        url = self.find(selector).get_attribute("src")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGB"), int)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not all(path.exists() for path in CHROMIUM):
        reason = "needs chromium and chromedriver in /usr/bin"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(autouse=True)
def _quiet(browser):
    """Fail if a page logs anything or requests anything but itself."""
    yield
    assert browser.driver.get_log("browser") == []
    requests = [
        json.loads(entry["message"])["message"]
        for entry in browser.driver.get_log("performance")
    ]
    urls = [
        message["params"]["request"]["url"]
        for message in requests
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert {url.partition(":")[0] for url in urls} <= {"file", "data", "blob"}
    assert {url for url in urls if url.startswith("file:")} <= {
        browser.driver.current_url
    }


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A run of three axes with one waiting member."""
    run = tmp_path_factory.mktemp("grid")
    write_run(run, AXES, size=(60, 90), waiting=(23,))
    write_report(run)
    return run


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    run = tmp_path_factory.mktemp("one")
    write_run(run, [], size=(60, 90), frames=5)
    write_report(run)
    return run


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_any_width(browser, grid, width):
    browser.open(grid, width)
    browser.curves()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    widths = browser.run(
        "return [...document.images].filter((i) => i.src).map((i) => i.naturalWidth)"
    )
    assert len(widths) == 2 + 23 + 2 + 12
    assert min(widths) > 0


def test_the_slider_moves_between_reference_and_result(browser, grid):
    browser.open(grid)
    browser.panel(5).click()
    slider = browser.find("#cut")
    browser.wait("return document.querySelector('#after').complete")
    assert browser.find("#before").get_attribute("src") == browser.find(
        "#input-0"
    ).get_attribute("src")

    def move(value):
        browser.run(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input'))",
            slider,
            value,
        )
        return browser.screenshot(".stage")

    after, before, half = move(0), move(100), move(50)
    width = half.shape[1]
    left, right = slice(0, width // 2 - 40), slice(width // 2 + 40, width)
    assert np.abs(half[:, left] - before[:, left]).mean() < 1
    assert np.abs(half[:, right] - after[:, right]).mean() < 1
    assert np.abs(before - after).mean() > 20
    expected = smooth_picture(5, 60, 90) * 255
    small = Image.fromarray(after.astype(np.uint8)).resize((90, 60))
    inner = np.s_[8:-8, 8:-8]  # The handle lies at the edge.
    assert np.abs(np.asarray(small, int) - expected)[inner].mean() < 8


def test_the_slider_responds_to_pointer_and_keys(browser, grid):
    browser.open(grid)
    slider = browser.find("#cut")
    width = slider.size["width"]
    ActionChains(browser.driver).move_to_element_with_offset(
        slider, width // 4, 0
    ).click().perform()
    cut = float(browser.run("return parseFloat(document.querySelector('#cut').value)"))
    assert cut == pytest.approx(75, abs=2)
    slider.send_keys(Keys.ARROW_LEFT * 4)
    assert browser.run("return document.querySelector('#cut').value") == str(
        cut - 2
    ).removesuffix(".0")
    style = browser.find(".stage").get_attribute("style")
    assert f"--cut: {cut - 2:g}%" in style


def test_selectors_show_a_setting_of_the_outer_axes(browser, grid):
    browser.open(grid)
    assert not browser.panel(12).is_displayed()
    browser.panel(6).click()
    browser.choose("#selectors select", 1)
    assert browser.panel(18).is_displayed()
    assert not browser.panel(6).is_displayed()
    assert browser.panel(18).get_attribute("aria-pressed") == "true", (
        "row and column are kept"
    )
    caption = browser.find("#label").text
    assert caption.startswith("seed 1, content weight 0.2, style weight 9")
    head = browser.run(
        "const table = document.querySelector('.panel[data-member=\"18\"]')"
        ".closest('table');"
        "return [...table.querySelectorAll('th')].map((th) => th.innerText)"
    )
    assert head[0] == "style weight" and head[2:6] == ["1", "3", "9", "27"]
    assert head[6:] == ["0", "0.2", "1"]


def test_the_last_of_many_quick_clicks_is_selected(browser, grid):
    """Images that were replaced while decoding log no error."""
    browser.open(grid)
    browser.run(
        "for (let turn = 0; turn < 5; turn++)"
        "  for (const panel of document.querySelectorAll('.panel')) panel.click();"
        "document.querySelector('.panel[data-member=\"3\"]').click();"
    )
    source = browser.find(".panel[data-member='3'] img").get_attribute("src")
    assert browser.find("#after").get_attribute("src") == source
    difference = np.abs(
        browser.pixels(".panel[data-member='3'] img") - browser.pixels("#input-0")
    )
    WebDriverWait(browser.driver, 10).until(
        lambda _: (
            abs(
                float(browser.find("#mean").get_attribute("textContent").split()[1])
                - difference.mean() / 255
            )
            < 0.002
        )
    )


def test_arrow_keys_move_between_panels(browser, grid):
    browser.open(grid)
    browser.panel(0).send_keys(Keys.ARROW_RIGHT)
    active = browser.driver.switch_to.active_element
    active.send_keys(Keys.ARROW_DOWN)
    active = browser.driver.switch_to.active_element
    assert active.get_attribute("data-member") == "5"
    active.send_keys(Keys.ENTER)
    assert active.get_attribute("aria-pressed") == "true"
    outline = browser.run("return getComputedStyle(arguments[0]).outlineStyle", active)
    assert outline != "none"


def test_a_waiting_member_has_no_image(browser, grid):
    browser.open(grid)
    browser.choose("#selectors select", 1)
    browser.panel(23).click()
    assert "waiting" in browser.find("#label").text
    assert not browser.find("#compare").is_displayed()
    assert not browser.find("#file").is_displayed()
    browser.panel(22).click()
    assert browser.find("#compare").is_displayed()


@pytest.mark.parametrize("against", ["content", "8"])
def test_the_difference_view_shows_gain_times_the_difference(browser, grid, against):
    browser.open(grid)
    browser.panel(3).click()
    browser.find("[name=view][value=difference]").click()
    browser.choose("#against", against)
    other = "#input-0" if against == "content" else ".panel[data-member='8'] img"
    first = browser.pixels(".panel[data-member='3'] img")
    difference = np.abs(first - browser.pixels(other))
    for gain in (4, 1, 16):
        browser.run(
            "const gain = document.querySelector('#gain'); gain.value = arguments[0];"
            "gain.dispatchEvent(new Event('input'))",
            gain,
        )
        expected = np.minimum(gain * difference, 255)
        # Two decoders of JPEG may differ by a level or two.
        for _ in range(40):
            canvas = browser.canvas()
            if (
                canvas.shape == expected.shape
                and np.abs(canvas - expected).mean() < gain
            ):
                break
            time.sleep(0.05)
        assert np.abs(canvas - expected).max() <= 4 * gain
        assert browser.find("#gain-value").text == str(gain)
    assert float(browser.find("#mean").text.split()[1]) == pytest.approx(
        difference.mean() / 255, abs=0.002
    )


def test_curves_follow_the_selection(browser, grid):
    browser.open(grid)
    browser.run("document.querySelector('.panel[data-member=\"2\"]').click()")
    total, terms = browser.curves()
    rows = read_metrics(grid / "metrics.jsonl")

    def losses(member):
        return [row["loss"] for row in rows if row["member"] == member]

    assert len(total) == 23  # A curve for each member with metrics.
    np.testing.assert_allclose(total[-1]["y"], losses(2), rtol=1e-4)
    assert total[-1]["x"] == [0, 5, 10]
    assert [line["name"] for line in terms] == ["total", "content/relu4_2", "style"]
    browser.panel(7).click()
    total, terms = browser.curves()
    np.testing.assert_allclose(total[-1]["y"], losses(7), rtol=1e-4)
    np.testing.assert_allclose(terms[1]["y"], 0.25 * np.array(losses(7)), rtol=1e-4)
    kind = browser.run("return document.querySelector('#total').layout.yaxis.type")
    assert kind == "log"
    # The pointer on a curve names it.
    chart = browser.find("#terms .nsewdrag")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", chart)
    point = browser.run(
        "const {_fullLayout: layout, calcdata} = document.querySelector('#terms');"
        "return [layout.xaxis.c2p(5), layout.yaxis.c2p(calcdata[1][1].y)]"
    )
    box = chart.size
    ActionChains(browser.driver).move_to_element_with_offset(
        chart, int(point[0] - box["width"] / 2), int(point[1] - box["height"] / 2)
    ).perform()
    hover = browser.wait("return document.querySelector('#terms .hovertext')")
    assert "content/relu4_2" in hover.text


def test_many_members_are_drawn_as_a_band(browser, tmp_path):
    run = write_run(tmp_path, [("seed", [str(i) for i in range(30)])])
    write_report(run)
    browser.open(run)
    total, _ = browser.curves()
    names = [line.get("name") for line in total]
    assert names[1:] == ["10 % to 90 %", "median", "seed 0"]
    losses = np.array([[1e6 * (1 + m)] for m in range(30)])
    median = total[2]["y"][0] / 1.02
    assert median == pytest.approx(np.median(losses), rel=1e-3)


def test_one_member_shows_all_views_at_once(browser, one):
    browser.open(one)
    for view in ("#compare", "#difference", "#film"):
        assert browser.find(view).is_displayed()
    assert not browser.find("#panels").is_displayed()
    video = "document.querySelector('video')"
    browser.wait(f"return {video}.readyState >= 1")
    facts = browser.run(
        f"return [{video}.videoWidth, {video}.videoHeight, {video}.duration]"
    )
    assert facts[:2] == [270, 180]
    assert facts[2] == pytest.approx(5 / 8, abs=0.05)
    total, terms = browser.curves()
    assert total is None and len(terms) == 3


def test_the_start_can_be_the_reference(browser, one):
    browser.open(one)
    browser.choose("#against", "start")
    grey = browser.pixels("#before")
    assert np.abs(grey - 128).max() <= 3
    assert browser.find("#before-name").text == "left: start"


def test_the_summary_comes_first_and_study_videos_play(browser, tmp_path):
    run = write_run(tmp_path, [("seed", ("0", "1"))])
    frames = [run / "inputs/000.png", run / "inputs/001.png"] * 3
    (run / "study").mkdir()
    write_mp4(run / "study/000.mp4", frames, 8)
    study = {
        "summary": ["Seeds part.", "They <do>."],
        "films": [{"title": "How it flickers", "file": "study/000.mp4"}],
    }
    (run / "study.json").write_text(json.dumps(study))
    write_page(read_run(run))
    browser.open(run)
    first = browser.find("main > section")
    assert first.text.splitlines() == ["Summary", "Seeds part.", "They <do>."]
    video = "document.querySelector('#findings video')"
    browser.wait(f"return {video}.readyState >= 2")
    assert browser.run(f"return {video}.duration") == pytest.approx(6 / 8, abs=0.01)
    browser.run(f"{video}.play()")
    browser.wait(f"return {video}.currentTime > 0.2")


def test_names_stay_text(browser, tmp_path):
    evil = "<img src=x onerror=\"document.title='broken'\"></script>$_{\\x}$ &amp;"
    run = write_run(
        tmp_path, [(evil, ("a", "b")), ("style", (evil, "d"))], command=evil
    )
    write_report(run)
    browser.open(run)
    browser.curves()
    assert browser.find("#command").text == evil
    assert evil in browser.find("#label").text
    assert evil in browser.find("#total .legendtext").get_attribute(
        "data-unformatted"
    ).replace("&lt;", "<").replace("&amp;", "&")
    assert browser.driver.title.endswith("nst_jax")


def test_a_run_without_results_opens(browser, tmp_path):
    run = write_run(tmp_path, AXES[1:], waiting=range(12))
    write_report(run)
    browser.open(run)
    assert "No metrics are recorded yet" in browser.find("#loss").text
    assert browser.panel(0).is_displayed()


def test_a_thousand_members_are_laid_out_one_setting_at_a_time(browser, tmp_path):
    """The page stays below 20 MB and lays out the panels of one outer value."""
    labels = [str(i) for i in range(10)]
    axes = [("seed", labels), ("content weight", labels), ("style weight", labels)]
    noise = np.random.default_rng(0).random((130, 180, 3), np.float32)
    pictures = [0.7 * smooth_picture(i, 130, 180) + 0.3 * noise for i in range(3)]

    def paint(member, height, width):
        return pictures[member % 3]

    run = write_run(
        tmp_path, axes, size=(130, 180), paint=paint, steps=range(0, 300, 10)
    )
    write_page(read_run(run))
    assert (run / "report.html").stat().st_size < 20e6
    browser.open(run)
    assert browser.panel(99).is_displayed()
    assert (
        browser.run(
            "return document.querySelector('[data-member=\"99\"] img').naturalWidth"
        )
        > 64
    )
    laid_out = "return document.querySelectorAll('.page:not([hidden]) .panel').length"
    assert browser.run(laid_out) == 100
    browser.choose("#selectors select", 7)
    assert browser.panel(799).is_displayed()
    assert browser.run(laid_out) == 100
    assert len(browser.curves()[0]) == 4
