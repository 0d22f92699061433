"""The command, and the page in a real browser where one is installed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compiler.cli import main
from compiler.driver import CompileResult
from pef import pef_pb2 as pb
from runtime.timing import simulate
from tests.workbench.report.conftest import EXAMPLES
from workbench.report.facts import facts
from workbench.report.render import render

webdriver = pytest.importorskip("selenium.webdriver")
waiting = pytest.importorskip("selenium.webdriver.support.ui")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

Facts = dict[str, Any]


def snc(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_the_command_writes_one_small_page(lenet: CompileResult, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = snc(lenet.pef_path, "-o", page, "--against", lenet.pef_path, "--profile")
    assert result.exit_code == 0, result.output
    assert "(simulated)" in result.output and str(page) in result.output
    assert page.stat().st_size < 3_000_000


def test_the_page_asks_nothing_of_the_network(found: Facts) -> None:
    text = render(found)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|fetch\(|XMLHttpRequest""", text)
    assert re.findall(r"https?://[^\"'\s]+", text) == ["http://www.w3.org/2000/svg"]
    assert render(found) == text


def test_facts_on_standard_output(lenet: CompileResult) -> None:
    result = snc(lenet.pef_path, "--json", "--profile")
    told = json.loads(result.output)
    assert told["time"] == "simulated" and told["numbers"]["time"] == "host"
    assert {output["name"] for output in told["numbers"]["outputs"]} == {"loss", "output"}
    assert all(output["passed"] for output in told["numbers"]["outputs"])
    assert "levers" not in told
    assert not lenet.pef_path.with_suffix(".html").exists()


def test_what_is_missing_is_said(tmp_path: Path, lenet: CompileResult) -> None:
    assert "does not exist" in snc(tmp_path / "none.pef").output
    alone = tmp_path / "alone.pef"
    shutil.copy(lenet.pef_path, alone)
    refused = snc(alone, "--profile")
    assert refused.exit_code != 0 and "leave out --profile" in refused.output


@pytest.fixture(scope="module")
def browser(found: Facts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(render(found))
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,950"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(page.as_uri())
    waiting.WebDriverWait(driver, 30).until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
    yield driver
    errors = [entry["message"] for entry in driver.get_log("browser")]
    driver.quit()
    assert errors == []


def press(driver: Any, keys: str) -> None:
    driver.find_element("tag name", "body").send_keys(keys)


def address(driver: Any) -> str:
    return str(driver.execute_script("return location.hash"))


def title(driver: Any) -> str:
    return str(driver.find_element("css selector", "aside h2").text)


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).dispatchEvent(new Event('click'))", selector)


@needs_browser
def test_the_first_screen_says_what_matters(browser: Any, found: Facts) -> None:
    shown = browser.find_element("css selector", ".hero").text
    assert f"{found['verdict']['roofline_share']:.1%} of the roofline" in shown
    assert len(browser.find_elements("css selector", ".hero .cards .card")) == 3
    assert "No action tried yet" in shown
    hero = browser.find_element("css selector", ".hero").rect
    assert hero["y"] + hero["height"] < 950
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@needs_browser
def test_one_selection_moves_all_views(browser: Any, found: Facts) -> None:
    press(browser, "]")
    section = int(re.findall(r"section=(\d+)", address(browser))[0])
    assert title(browser) == found["sections"][section]["name"]
    assert found["sections"][section]["name"] in browser.find_element("css selector", "#floorplan .note").text
    press(browser, "j")
    assert "stage=0" in address(browser)
    stage = found["executions"][found["sections"][section]["execution"]]["phases"][0]["stages"][0]
    assert title(browser) == stage["name"]
    assert browser.find_elements("css selector", "#timeline .labels .self")
    assert browser.find_elements("css selector", "#sections tr.self")
    assert browser.find_elements("css selector", "#source tr.self")
    click(browser, "#source tbody tr")
    line = found["lines"][0]
    assert title(browser) == (f"{line['file']}:{line['line']}" if line["line"] else line["file"])
    assert browser.find_elements("css selector", "#sections tr.self")
    click(browser, "#traffic tbody tr")
    assert title(browser) == found["traffic"][0]["name"]
    press(browser, "\ue00c")
    assert "line" not in address(browser) and "symbol" not in address(browser)


@needs_browser
def test_search_finds_and_selects(browser: Any) -> None:
    press(browser, "/")
    field = browser.find_element("css selector", ".search input")
    field.send_keys("conv2d_weight")
    assert browser.find_elements("css selector", ".search li")
    field.send_keys("\ue007")
    assert "conv2d_weight_gradient" in title(browser)


@needs_browser
def test_clicks_on_charts_select(browser: Any) -> None:
    for selector, word in (
        ("#roofline circle", "section="),
        ("#plan rect", "symbol="),
        (".hero .card li button", "section="),
    ):
        click(browser, selector)
        assert word in address(browser), selector
    canvas = browser.find_element("css selector", "#floorplan canvas")
    assert browser.execute_script(
        "return arguments[0].getContext('2d').getImageData(0, 0, 60, 60).data.some(Boolean)", canvas
    )
    before = browser.execute_script("return arguments[0].toDataURL()", canvas)
    press(browser, "h")
    assert browser.execute_script("return arguments[0].toDataURL()", canvas) != before
    press(browser, "h")


@needs_browser
def test_zoom_and_theme(browser: Any) -> None:
    def axis() -> str:
        return str(browser.find_element("css selector", "#timeline .lanes").text)

    before = axis()
    press(browser, "w")
    assert axis() != before
    press(browser, "0")
    assert axis() == before
    theme = browser.execute_script("return document.documentElement.dataset.theme")
    press(browser, "t")
    assert browser.execute_script("return document.documentElement.dataset.theme") != theme
    press(browser, "t")
    press(browser, "?")
    assert browser.find_element("css selector", "dialog").is_displayed()
    browser.find_element("css selector", "dialog button").click()


@needs_browser
def test_in_a_narrow_window_the_selection_stays_in_sight(browser: Any) -> None:
    size = {"width": 800, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        for view in ("timeline", "floorplan", "roofline", "sections"):
            browser.execute_script("document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", view)
            top, bottom = browser.execute_script(
                "const {top, bottom} = document.querySelector('aside').getBoundingClientRect(); return [top, bottom]"
            )
            assert 0 < top < 850 and bottom <= 901, view
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_grows_with_what_differs_not_with_depth(pef: pb.Pef, found: Facts) -> None:
    deep = pb.Pef()
    deep.CopyFrom(pef)
    for _ in range(99):
        deep.sections.extend(pef.sections)
    report = simulate(deep)
    many = facts(deep, report, EXAMPLES)
    assert len(many["sections"]) == 100 * len(found["sections"])
    assert len(many["executions"]) == len(found["executions"])
    assert len(render(many)) < 1.5 * len(render(found))
