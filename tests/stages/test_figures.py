"""Figures: the same bytes every time, every curve under its own name, a model's colour everywhere, names as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stages.reporting import calibration, figures, palette, pareto, svg, tradeoff
from stages.reporting.palette import Palette
from stages.reporting.results import Result, read_results
from stages.reporting.shortened import shortened, told_apart
from tests.stages.fake_artifacts import Data, Run, branches

COLORS = Palette(("ResNet50", "VGG16"))
HOSTILE = ("<script>alert(1)</script>", "$x_1$ & co", "plain")


@pytest.fixture
def results(tmp_path: Path) -> list[Result]:
    runs = [Run({"model": "resnet50"}, moving_accuracy=0.3), Run({"model": "vgg16"}, model="vgg16", accuracy=0.9)]
    return read_results(branches(tmp_path, runs, Data(classes=HOSTILE)))[0]


def drawings(results: list[Result]) -> dict[str, str]:
    return {
        "intervals": figures.intervals(results, COLORS),
        **{told.cost.name: tradeoff.draw(told, COLORS) for told in pareto.tradeoffs(results)},
        "curves": figures.learning_curves(results[0], COLORS),
        "confusion": figures.confusion(results[0], COLORS),
        "calibration": calibration.reliability(results[0], COLORS),
    }


def texts(drawing: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]


def titles(drawing: str) -> list[str]:
    """What the pointer finds."""
    return [element.text or "" for element in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}title")]


def width_of_axes(drawing: str) -> float:
    """In points, from the places of the readings that reach across."""
    [first, *_] = re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"[^>]*><title>', drawing)
    return float(first)


@pytest.mark.slow
def test_figures_have_the_same_bytes_every_time(results: list[Result]) -> None:
    assert drawings(results) == drawings(results)


@pytest.mark.slow
def test_figures_have_the_same_bytes_in_a_fresh_process(results: list[Result], tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from stages.reporting import figures
from stages.reporting.palette import Palette
from stages.reporting.results import read_results
from tests.stages.fake_artifacts import Data, Run, branches
run = Run({{"model": "resnet50"}}, moving_accuracy=0.3)
[result], _ = read_results(branches(Path({str(tmp_path / "again")!r}), [run], Data(classes={HOSTILE!r})))
print(figures.learning_curves(result, Palette(("ResNet50", "VGG16"))), end="")
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == figures.learning_curves(results[0], COLORS)


def test_figures_hold_no_date(results: list[Result]) -> None:
    assert all("<dc:date>" not in drawing for drawing in drawings(results).values())


def test_every_curve_is_named(results: list[Result]) -> None:
    named = texts(figures.learning_curves(results[0], COLORS))
    assert {"training", figures.MOVING, "validation, re-estimated BatchNorm", "epoch 8, chosen", "accuracy", "loss"} <= set(named)
    plain = texts(figures.learning_curves(results[1], COLORS))
    assert "validation" in plain
    assert figures.MOVING not in plain


def test_names_are_shown_as_they_are(results: list[Result]) -> None:
    drawing = figures.confusion(results[0], COLORS)
    assert "<script" not in drawing
    assert {"$x_1$ & co", "<script…cript>"} <= set(texts(drawing))


def test_a_model_has_one_colour_in_all_figures(results: list[Result]) -> None:
    assert all(COLORS.color("ResNet50") in drawing for drawing in drawings(results).values())
    assert COLORS.color("VGG16") not in figures.confusion(results[0], COLORS)


def test_inline_figures_follow_the_theme_and_share_no_ids(results: list[Result]) -> None:
    inline = {name: svg.inline(drawing, name) for name, drawing in drawings(results).items()}
    for name, text in inline.items():
        assert "var(--ink)" in text
        assert not [light for light, _ in palette.variables().values() if light in text]
        assert set(re.findall(r"url\(#([\w-]+)\)", text)) <= set(re.findall(r'id="([\w-]+)"', text))
        assert all(identity.startswith(name) for identity in re.findall(r' id="([\w-]+)"', text))
        ElementTree.fromstring(text)


def test_names_that_look_like_markup_are_in_the_page_what_they_are_in_the_file(tmp_path: Path) -> None:
    colors = [light for light, _ in palette.variables().values()]
    like_markup = ("url(#a)", 'href="#a"', ' id="a"', "rotate(-0 1)", "font-family: a; ")
    results = read_results(branches(tmp_path, [Run({"model": "resnet50"})], Data(classes=(*colors, *like_markup))))[0]
    drawing = figures.confusion(results[0], COLORS)
    in_page = svg.inline(drawing, "confusion")
    assert texts(in_page) == texts(drawing) and {*colors, "url(#a)", 'href="#a"'} <= set(texts(drawing))
    assert titles(in_page) == titles(drawing) and any(colors[0] in title for title in titles(drawing))


def test_a_name_is_cut_where_it_differs_least_from_others() -> None:
    assert shortened(["melanoma_stage_1", "melanoma_stage_2", "nevus"], 14) == ["melanom…tage_1", "melanom…tage_2", "nevus"]
    assert shortened([f"{'x' * 10}{i}{'y' * 10}" for i in "12"], 14) == ["xxxxxxxxxx1…yy", "xxxxxxxxxx2…yy"]
    assert shortened([f"{'x' * 3}{'y' * 20}{i}yyyyyyyyy" for i in "12"], 14) == ["xxx…1yyyyyyyyy", "xxx…2yyyyyyyyy"]
    assert told_apart([f"{'x' * 20}{i}{'x' * 20}" for i in "12"], 14) == ["1 xxxxxx…xxxxx", "2 xxxxxx…xxxxx"]


LONG = [
    ["melanoma_stage_1_of_the_left_arm", "melanoma_stage_2_of_the_left_arm"],
    ["melanoma_stage_1", "melanoma_stage_2", "nevus"],
    ["a" * 60 + middle + "a" * 60 for middle in ("b", "c", "d")],
    ["\N{CJK UNIFIED IDEOGRAPH-65E5}" * 30 + middle for middle in ("1", "2")],
    ["m" * 60, "m" * 61],
]


@pytest.mark.parametrize("names", LONG)
def test_different_classes_have_different_labels_that_leave_room_for_the_matrix(tmp_path: Path, names: list[str]) -> None:
    results = read_results(branches(tmp_path, [Run({})], Data(classes=names)))[0]
    drawing = figures.confusion(results[0], COLORS)
    labels = texts(drawing)[: len(names)]
    assert len(set(labels)) == len(names) and labels == texts(drawing)[len(names) + 1 : 2 * len(names) + 1]
    assert all(any(name in title for title in titles(drawing)) for name in names)


@pytest.mark.parametrize("names", LONG)
def test_long_labels_of_branches_are_cut_and_leave_the_intervals_their_room(tmp_path: Path, names: list[str]) -> None:
    plain, long = (
        read_results(branches(tmp_path / kind, [Run({"recipe": name}) for name in axis]))[0]
        for kind, axis in (("plain", list(map(str, range(len(names))))), ("long", names))
    )
    widths = []
    for results in (plain, long):
        drawing = figures.intervals(results, COLORS)
        widths.append(width_of_axes(drawing))
        assert [text.split()[0] for text in texts(drawing)[-len(names) :]] == [str(result.number) for result in results]
        assert all(len(text) <= 45 for text in texts(drawing))
        assert all(f"{result.number} {result.label}" in title for result, title in zip(results, titles(drawing), strict=True))
    assert widths[0] == widths[1]


def test_many_classes_become_one_picture(tmp_path: Path) -> None:
    data = Data(classes=tuple(f"class {i:03d}" for i in range(100)), test=300)
    results = read_results(branches(tmp_path, [Run({})], data))[0]
    drawing = figures.confusion(results[0], COLORS)
    assert len(drawing) < 60_000
    assert drawing == figures.confusion(results[0], COLORS)


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_have_contrast_on_their_background(theme: int) -> None:
    for name, colors in palette.variables().items():
        if name != "--rule":
            assert contrast(colors[theme], ("#ffffff", "#14171b")[theme]) >= 4.5, (name, colors[theme])


@pytest.mark.parametrize("theme", [0, 1])
def test_counts_can_be_read_on_every_shade_of_a_confusion_matrix(theme: int) -> None:
    page, ink = ("#ffffff", "#14171b")[theme], palette.INK[theme]
    for colors in palette.SERIES:
        for share in (0.0, 0.25, 0.5):
            assert contrast(ink, mixed(colors[theme], page, share)) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_words_of_the_page_have_contrast_on_all_its_backgrounds(theme: int) -> None:
    css = (Path(__file__).parents[2] / "stages" / "reporting" / "templates" / "page.css").read_text()
    themes = re.findall(r":root \{ (--page: [^}]*)\}", css)
    named = {
        **dict(re.findall(r"(--\w+): (#\w{6})", themes[theme])),
        "--ink": palette.INK[theme],
        "--muted": palette.MUTED[theme],
    }
    assert len(themes) == 2 and named["--page"] == ("#ffffff", "#14171b")[theme]
    for background in ("--page", "--card"):
        for words in ("--ink", "--muted", "--link", "--error", "--warning", "--note"):
            assert contrast(named[words], named[background]) >= 4.5, (words, background)


def contrast(first: str, second: str) -> float:
    """Contrast ratio (WCAG 2.2)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def mixed(color: str, background: str, share: float) -> str:
    """The colour at that opacity on a background."""
    pairs = zip(*(bytes.fromhex(one[1:]) for one in (color, background)), strict=True)
    return "#" + bytes(round(share * over + (1 - share) * under) for over, under in pairs).hex()


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
