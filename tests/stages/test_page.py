"""The report's page in a browser: what its script adds, what it is without, and that everybody can read it, on paper too.

The browser is the system's own Chromium; nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from stages import json_files
from stages.reporting.wording import MINUS
from tests.stages.fake_artifacts import Run, branches
from tests.stages.test_recipe_report import PHASES
from tests.stages.test_report import FINDING, HOSTILE, ODD, made, reported

CHROMIUM = shutil.which("chromium")
A4 = 703  # CSS pixels between the page's margins
DASH = "\N{EN DASH}"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH (Debian: apt install chromium)")


@dataclass
class Visit:
    """An open page, and what it did that nobody asked it to."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def surprises(self) -> list[str]:
        return [
            *self.said,
            *(url for url in self.asked if url != self.page.url.partition("#")[0] and not url.startswith("data:")),
        ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens a file; at the end nothing may have been logged, thrown, asked of the user, or asked of anywhere."""
    contexts, visits = [], []

    def opened(file: Path, width: int = 1280, theme: str = "light", script: bool = True) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=script, reduced_motion="reduce"
        )
        context.set_default_timeout(10_000)
        page = context.new_page()
        told = Visit(page)
        page.on("console", lambda message: told.said.append(message.text))
        page.on("pageerror", lambda error: told.said.append(str(error)))
        page.on("dialog", lambda dialog: (told.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: told.asked.append(request.url))
        page.goto(file.as_uri())
        contexts.append(context)
        visits.append(told)
        return told

    yield opened
    surprises = [surprise for told in visits for surprise in told.surprises]
    for context in contexts:
        context.close()
    assert surprises == []


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four branches on hostile data, with all that a page can hold: findings, phases, a finder, an odd audit, two backends."""
    folder = tmp_path_factory.mktemp("several")
    axes = [("resnet50", "tensorflow"), ("resnet50", "jax"), ("vgg16", "tensorflow"), ("vgg16", "jax")]
    runs = [
        Run(
            {"model": model, "backend": backend}, model=model, backend=backend, accuracy=accuracy, seconds=seconds,
            moving_accuracy=0.3 if model == "resnet50" else None, findings=[FINDING] if backend == "jax" else [],
            training={"phases": PHASES} if seconds == 42 else {}, notices=["trained on the CPU"],
        )
        for (model, backend), accuracy, seconds in zip(axes, (0.9, 0.96, 0.6, 0.8), (200.0, 42.0, 3905.0, 9.5), strict=True)
    ]  # fmt: skip
    gathered = branches(folder / "run", runs, HOSTILE)
    ingest = folder / "run" / "ingest"
    json_files.write(ingest / "audit.json", json_files.read(ingest / "audit.json") | ODD)
    return reported(folder, gathered) / "report.html"


def column(page: Page, section: str, heading: str) -> list[str]:
    """The cells of the visible rows of the section's first wide table that has such a heading, as read."""
    told: list[str] = page.evaluate(
        """([section, heading]) => {
          const head = [...document.querySelectorAll(`#${section} .wide thead th`)].find((th) => th.innerText.trim().startsWith(heading));
          const rows = [...head.closest("table").tBodies].flatMap((body) => [...body.rows]).filter((row) => row.checkVisibility());
          return rows.map((row) => row.cells[head.cellIndex].innerText.trim());
        }""",
        [section, heading],
    )
    return told


def heading(page: Page, section: str, name: str) -> Any:
    return page.locator(f"#{section} .wide thead button", has_text=name).first


def everything_open(page: Page) -> None:
    """All details open, and cards outside the window laid out too."""
    page.add_style_tag(content=".card { content-visibility: visible !important; }")
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


@pytest.mark.slow
def test_tables_are_sorted_by_click_as_numbers(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    before = column(page, "costs", "training")
    assert before == ["3 min 20 s", "42 s", "1 h 05 min", "9.5 s"]
    by_time = heading(page, "costs", "training")
    by_time.click()
    assert column(page, "costs", "training") == ["9.5 s", "42 s", "3 min 20 s", "1 h 05 min"]
    assert [cell.split()[0] for cell in column(page, "costs", "branch")] == ["4", "2", "1", "3"]
    by_time.click()
    assert column(page, "costs", "training") == ["1 h 05 min", "3 min 20 s", "42 s", "9.5 s"]
    by_time.click()
    assert column(page, "costs", "training") == before


def test_tables_are_sorted_by_keyboard(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    by_accuracy = heading(page, "comparison", "test accuracy")
    head = page.locator("#comparison thead th").nth(1)
    by_accuracy.focus()
    page.keyboard.press("Enter")
    rising = column(page, "comparison", "test accuracy")
    assert rising == sorted(rising) and rising != sorted(rising, reverse=True)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert column(page, "comparison", "test accuracy") == rising[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert page.locator("#comparison thead th").nth(2).get_attribute("aria-sort") == "ascending"


def test_what_is_missing_stays_last(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    for _ in range(2):
        heading(page, "comparison", "behind the chosen by").click()
        assert column(page, "comparison", "behind the chosen by")[-1] == DASH


@pytest.mark.parametrize(
    ("cells", "ordered"),
    [
        (["10", "9", f"{MINUS}1", "1e-05", "+0.5"], [f"{MINUS}1", "1e-05", "+0.5", "9", "10"]),
        (["2 MiB", "1.4 GiB", DASH, "160 KiB"], ["160 KiB", "2 MiB", "1.4 GiB", DASH]),
        (["7.71 GFLOP", "312 kFLOP/s (0.78)", "48.0 MFLOP"], ["312 kFLOP/s (0.78)", "48.0 MFLOP", "7.71 GFLOP"]),
        (["1 h 05 min", "9.5 s", "59 min 59 s"], ["9.5 s", "59 min 59 s", "1 h 05 min"]),
        (["23\u202f587\u202f712", "999", "1\u202f000"], ["999", "1\u202f000", "23\u202f587\u202f712"]),
        (["nan", "inf", "2.5"], ["2.5", "inf", "nan"]),
        (["< 0.001", "0.042"], ["< 0.001", "0.042"]),
        (["12 of 12", "8 of 12"], ["8 of 12", "12 of 12"]),
        (["0.9 (0.8 to 0.95)", "0.85 (0.8 to 0.9)"], ["0.85 (0.8 to 0.9)", "0.9 (0.8 to 0.95)"]),
        (["2026-01-10", "2026-01-09", "2025-12-31"], ["2025-12-31", "2026-01-09", "2026-01-10"]),
        (["b10", "b9", "a", "Ä"], ["a", "Ä", "b9", "b10"]),
    ],
)  # fmt: skip
def test_cells_are_read_as_the_report_writes_them(
    visit: Callable[..., Visit], tmp_path: Path, cells: list[str], ordered: list[str]
) -> None:
    script = (Path(__file__).parents[2] / "stages" / "reporting" / "templates" / "page.js").read_text()
    rows = "".join(f"<tr><td>{cell.replace('<', '&lt;')}</td></tr>" for cell in cells)
    table = f"<table><thead><tr><th scope=col>x</th></tr></thead><tbody>{rows}</tbody></table>"
    file = tmp_path / "table.html"
    file.write_text(f"<!doctype html><html lang=en><meta charset=utf-8><main>{table}</main><script>{script}</script></html>")
    page = visit(file).page
    page.locator("th button").click()
    assert page.locator("td").all_inner_texts() == ordered


def test_tables_of_groups_stay_as_they_are(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    assert page.locator("#backends tbody").count() == 2
    assert page.locator("#backends thead button").count() == 0


def test_filter_hides_branches_in_all_sections(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    everything_open(page)
    status, show_all = page.get_by_role("status"), page.get_by_role("button", name="Show all")
    whole = page.locator("main").inner_text()
    assert status.inner_text() == "" and not show_all.is_visible()
    page.get_by_role("checkbox", name="vgg16").check()
    assert status.inner_text() == "2 of 4 branches shown"
    page.get_by_role("checkbox", name="jax").check()
    assert status.inner_text() == "1 of 4 branches shown"
    assert [cell.split()[0] for cell in column(page, "comparison", "branch")] == ["4"]
    for section in ("comparison", "curves", "confusion", "calibration", "costs", "backends"):
        shown = page.locator(f"#{section} [data-branch]:visible").evaluate_all(
            "chips => chips.map((chip) => chip.dataset.branch)"
        )
        assert set(shown) == {"4"}, section
        assert page.locator(f"#{section} .card:visible").count() == page.locator(f"#{section} .card").count() / 4
    assert page.locator("#confusion thead th:visible", has_text="resnet50").count() == 0
    assert page.locator("#costs .readings rect:visible").count() == 2  # one in each figure
    assert page.locator("#findings article:visible").count() == 1
    assert page.locator("#costs > details:visible").count() == 1  # the layers of one branch
    assert page.locator("#pairs ~ * tbody tr:visible").count() == 1  # of the matrix alone: a pair has two branches
    page.get_by_role("checkbox", name="vgg16").uncheck()
    page.get_by_role("checkbox", name="jax").uncheck()
    page.get_by_role("checkbox", name="tensorflow").check()
    assert page.locator("#findings article:visible").count() == 0
    show_all.click()
    assert page.locator("main").inner_text() == whole
    assert page.get_by_role("checkbox", checked=True).count() == 0


def test_filter_fades_other_branches_in_the_figures_of_all(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    page.locator("search summary").click()
    page.get_by_role("checkbox", name="jax").check()
    for section in ("comparison", "costs"):
        opacity = page.locator(f"#{section} .drawing g[data-branches]").evaluate_all(
            "parts => Object.fromEntries(parts.map((part) => [part.dataset.branches, getComputedStyle(part).opacity]))"
        )
        assert opacity == {"1": "0.15", "2": "1", "3": "0.15", "4": "1"}


def test_filter_by_keyboard(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    page.locator("search summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.get_by_role("status").inner_text() == "2 of 4 branches shown"
    page.keyboard.press("Escape")
    assert not page.locator("search .panel").is_visible()
    assert page.locator("search summary").evaluate("summary => summary === document.activeElement")
    page.keyboard.press("Tab")
    assert page.get_by_role("button", name="Show all").evaluate("button => button === document.activeElement")


def test_link_to_a_hidden_finding_shows_it(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    page.locator("search summary").click()
    page.get_by_role("checkbox", name="tensorflow").check()
    finding = page.locator("#finding-1")
    assert not finding.is_visible()
    page.locator("#verdict .alarm a").click()
    assert finding.is_visible()
    assert 0 <= finding.bounding_box()["y"] < 900  # type: ignore[index]
    assert page.get_by_role("status").inner_text() == ""


def test_figures_tell_values_under_the_pointer(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    tip, card = page.locator(".tip"), page.locator("#curves .card").nth(2)
    places = card.locator(".readings rect")
    assert places.count() == 8
    places.nth(2).hover()
    assert tip.inner_text().splitlines() == ["epoch 3: accuracy, loss", "training 0.86, 0.3439", "validation 0.5265, 0.4439"]
    assert card.locator("tbody tr").nth(2).locator("td").all_text_contents()[:5] == ["3", "0.3439", "0.86", "0.4439", "0.5265"]
    frame, box = card.bounding_box(), tip.bounding_box()
    assert frame and box and frame["x"] <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"]
    page.keyboard.press("Escape")
    assert tip.count() == 0
    places.nth(3).hover()
    assert tip.inner_text().startswith("epoch 4")
    page.locator("#curves h2").hover()
    assert tip.count() == 0


def test_every_figure_has_its_numbers(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    lonely = page.locator("main figure:has(.drawing)").evaluate_all(
        """figures => figures.filter((figure) => {
          const around = figure.closest(".card") ?? figure.closest("section");
          return !around.querySelector("details table");
        }).length"""
    )
    assert (
        page.locator("main figure:has(.drawing)").count() == 3 + 4 * 3 + 1
    )  # intervals and two costs; three of each branch; a learning-rate finder
    assert lonely == 0


def test_class_that_is_a_script_is_shown_and_not_run(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    everything_open(page)
    assert page.get_by_role("rowheader", name="<script>alert(1)</script>", exact=True).count() >= 5
    assert page.locator("script").count() == 1


def test_no_script_runs_but_the_page_s_own(visit: Callable[..., Visit], several: Path) -> None:
    told = visit(several)
    told.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"
    )
    assert told.page.evaluate("window.ran") is None
    assert len(told.said) == 1 and "Content Security Policy" in told.said.pop()
    assert told.page.locator("search").is_visible()


def test_page_without_script_shows_everything(visit: Callable[..., Visit], several: Path) -> None:
    with_script, without = visit(several).page, visit(several, script=False).page
    assert without.locator("main").inner_text().replace("\n", " ").split() == with_script.locator("main").inner_text().split()
    assert without.locator("search").count() == 1 and not without.locator("search").is_visible()
    assert without.locator("main button").count() == 0
    without.locator("summary", has_text="Numbers").first.click()
    assert without.locator("details[open] table").first.is_visible()


def assert_fits(page: Page, width: int) -> None:
    """Nothing lies beyond a window of that width but what scrolls by itself."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
          .filter((one) => !one.closest(".scroll *, pre *, nav li, svg *")).map((one) => one.outerHTML.slice(0, 100))"""
    )
    assert (width, beyond) == (width, [])


@pytest.mark.slow
def test_page_fits_its_window_however_long_its_labels_are(visit: Callable[..., Visit], tmp_path: Path) -> None:
    labels = ("photos-2024,imagenet,adamw,cosine,0.0001,mixed_bfloat16,balanced", "y" * 400)
    runs = [
        Run({"model": model, "recipe": label}, model=model) for model, label in zip(("resnet50", "vgg16"), labels, strict=True)
    ]
    page = visit(made(tmp_path, runs) / "report.html").page
    everything_open(page)
    for width in (360, 1280):
        assert_fits(page, width)
        first = page.locator("#comparison .wide tbody tr").first.locator("th, td")
        assert first.nth(1).bounding_box()["x"] < width  # type: ignore[index]  # beside the label there is a number to be seen


@pytest.mark.parametrize(("theme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 27)")])
def test_page_fits_its_window(visit: Callable[..., Visit], several: Path, theme: str, background: str) -> None:
    page = visit(several, theme=theme).page
    everything_open(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
    for width in (360, 768, 1280, 1920):
        assert_fits(page, width)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_has_no_fault_that_axe_knows(visit: Callable[..., Visit], several: Path, width: int, theme: str) -> None:
    page = visit(several, width, theme).page
    everything_open(page)
    found = Axe().run(page).response
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found["violations"]] == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}


def test_what_has_the_focus_is_seen(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several).page
    page.keyboard.press("Tab")
    assert page.locator(".skip:focus").bounding_box()["x"] >= 0  # type: ignore[index]
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_only_tables_that_scroll_are_stops_of_the_tab_key(visit: Callable[..., Visit], several: Path) -> None:
    page = visit(several, 360).page
    stops = page.locator(".scroll:visible").evaluate_all(
        "regions => regions.map((region) => [region.tabIndex === 0, region.scrollWidth > region.clientWidth])"
    )
    assert {stop for stop, scrolls in stops if scrolls} == {True}
    assert {stop for stop, scrolls in stops if not scrolls} == {False}


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
def test_paper_holds_everything(visit: Callable[..., Visit], several: Path, script: bool) -> None:
    page = visit(several, A4, "dark", script).page
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF-") and pdf.count(b"/Type /Page\n") > 5
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4
    hidden = page.locator("main details table").evaluate_all(
        "tables => tables.filter((table) => !table.checkVisibility({contentVisibilityAuto: true}) || !table.offsetHeight).length"
    )
    assert hidden == 0
    cut = page.locator("main table").evaluate_all(
        """tables => tables.filter((table) => {
          const around = (table.closest(".card") ?? document.body).getBoundingClientRect();
          return table.getBoundingClientRect().right > around.right + 1;
        }).length"""
    )
    assert cut == 0
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--page')").strip() == "#ffffff"


@pytest.mark.slow
def test_twenty_four_branches_fit_and_can_be_filtered(visit: Callable[..., Visit], tmp_path: Path) -> None:
    axes = [(m, r, s) for m in ("resnet50", "vgg16") for r in ("a", "b", "c") for s in (1, 2, 3, 4)]
    file = made(tmp_path, [Run({"model": m, "recipe": r, "seed": s}, model=m) for m, r, s in axes]) / "report.html"
    page = visit(file, 360).page
    everything_open(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("checkbox", name="3").check()
    assert page.get_by_role("status").inner_text() == "6 of 24 branches shown"
