"""The report: one self-contained page that shows what was measured, and shows hostile names instead of running them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from kpipe.stage import Branch, Stage, StageError
from stages import json_files, report
from stages.reporting import pairs
from stages.reporting.results import read_results
from tests.stages.fake_artifacts import Data, Run, branches

HOSTILE = Data(
    name="<img src=x onerror=alert(1)>",
    classes=("<script>alert(1)</script>", "a & b", "plain"),
    skipped=[("<b>bold</b>.jpg", "truncated"), ("ha\x1bha.png", "empty file")],
)
FINDING = {
    "rule": "input-scale", "severity": "error", "title": "Pixels these weights never saw", "cause": "The range is 0 to 1.",
    "evidence": {"measured_range": [0.0, 1.0], "note": "<i>x</i>"}, "fix": 'stages.preprocess.params.scaling = "model"',
    "effect": {"as_configured": 0.5, "with_fix": 0.94, "measure": "accuracy of a linear probe"}, "confidence": 0.97,
}  # fmt: skip


class Page(HTMLParser):
    """Tags, ids, links and text of a page, and whether its tags are closed in order."""

    VOID = ("meta", "link", "img", "input", "br", "wbr", "rect", "path", "use")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(folder: Path, runs: list[Run], data: Data | None = None) -> Path:
    return reported(folder, branches(folder / "run", runs, data))


def reported(folder: Path, gathered: list[Branch]) -> Path:
    out = folder / "out"
    report.run(Stage(out=out, branches=gathered))
    return out


def two() -> list[Run]:
    return [
        Run({"model": "resnet50"}, moving_accuracy=0.21, accuracy=0.96, notices=["trained on the CPU"], findings=[FINDING]),
        Run({"model": "vgg16"}, model="vgg16", accuracy=0.9),
    ]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> list[Branch]:
    """Two branches, one of them with a finding."""
    return branches(tmp_path_factory.mktemp("run"), two())


@pytest.fixture(scope="module")
def out(gathered: list[Branch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their report, for tests that only read it."""
    return reported(tmp_path_factory.mktemp("report"), gathered)


def words(out: Path) -> str:
    return " ".join(Page((out / "report.html").read_text()).text.split())


@pytest.mark.slow
def test_report_gives_page_table_and_figures(out: Path) -> None:
    assert sorted(file.name for file in out.iterdir()) == ["figures", "pairs.csv", "report.csv", "report.html"]
    drawn = sorted(file.name for file in (out / "figures").iterdir())
    branch = ["1-resnet50.svg", "2-vgg16.svg"]
    names = ("calibration", "confusion")
    assert drawn == [
        *(f"{name}-{b}" for name in names for b in branch),
        "costs-latency.svg",
        "costs-training.svg",
        *(f"curves-{b}" for b in branch),
        "intervals.svg",
    ]
    rows = list(csv.DictReader(io.StringIO((out / "report.csv").read_text())))
    assert [row["model"] for row in rows] == ["resnet50", "vgg16"]
    assert 0.8 < float(rows[1]["test_accuracy"]) < 0.95


def test_however_long_its_label_is_a_branch_has_a_file_name_of_its_own(tmp_path: Path) -> None:
    axes = [{"model": "resnet50", "recipe": "y" * 400 + end, "rate": "\u65e5" * 90} for end in "ab"]
    slugs = [result.slug for result in read_results(branches(tmp_path, map(Run, axes)))[0]]
    assert len(set(slugs)) == 2
    for number, slug in enumerate(slugs, 1):
        assert slug.startswith(f"{number}-resnet50-yyyy")
        (tmp_path / f"calibration-{slug}.svg").touch()


@pytest.mark.slow
def test_report_twice_gives_the_same_bytes(tmp_path: Path, gathered: list[Branch], out: Path) -> None:
    again = reported(tmp_path, gathered)
    files = [file.relative_to(out) for file in sorted(out.rglob("*")) if file.is_file()]
    assert [(out / f).read_bytes() for f in files] == [(again / f).read_bytes() for f in files]


def test_page_says_what_was_measured(out: Path) -> None:
    text = words(out)
    for sentence in (
        "ResNet50 and VGG16 on digits, TensorFlow",
        "On the moving statistics ResNet50 reaches 0.21 on validation (epoch 8), after re-estimation 0.96",
        "exact McNemar",
        'stages.preprocess.params.scaling = "model"',
        "0.50 as configured, 0.94 with the fix",
        "trained on the CPU",
        "always the most frequent class",
        "Example CPU",
        "3.15.1",
    ):
        assert sentence in text


def test_page_is_whole_and_needs_nothing_else(out: Path) -> None:
    html = (out / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base", "form")]
    addresses = [attrs.get(name) or "" for _, attrs in page.tags for name in ("src", "href", "xlink:href", "action")]
    assert all(address.startswith(("#", "data:")) for address in addresses if address)
    assert not re.search(r"@import|url\((?!#)", html)


def test_page_allows_its_own_script_and_no_other(out: Path) -> None:
    html = (out / "report.html").read_text()
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    [policy] = [attrs["content"] for tag, attrs in Page(html).tags if tag == "meta" and attrs.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert str(policy).split("; ") == [
        "default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'"
    ]  # fmt: skip
    assert "'use strict'" in script or '"use strict"' in script


def test_two_branches_need_no_filter(out: Path) -> None:
    assert "<search" not in (out / "report.html").read_text()


def test_page_has_unique_ids_and_every_inner_link_arrives(out: Path) -> None:
    page = Page((out / "report.html").read_text())
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    links = {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a" and str(attrs.get("href")).startswith("#")}
    assert links <= set(ids)


def test_headings_descend_one_level_at_a_time_and_pictures_have_words(out: Path) -> None:
    page = Page((out / "report.html").read_text())
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert all(attrs.get("aria-label") for _, attrs in page.tags if attrs.get("role") == "img")


@pytest.mark.slow
def test_hostile_names_are_shown_not_run(tmp_path: Path) -> None:
    out = made(tmp_path, two(), HOSTILE)
    html = (out / "report.html").read_text()
    page = Page(html)
    assert [tag for tag, _ in page.tags if tag in ("script", "b", "i")] == ["script"]  # its own
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "<script>alert(1)</script>" in page.text
    assert "<b>bold</b>.jpg" in page.text
    assert "\x1b" not in html
    assert "ha\\u001bha.png" in page.text


def test_csv_inside_the_page_is_the_csv_beside_it(out: Path) -> None:
    links = [attrs for _, attrs in Page((out / "report.html").read_text()).tags if str(attrs.get("download")).endswith(".csv")]
    assert [link["download"] for link in links] == ["report.csv", "pairs.csv"]
    for link in links:
        assert base64.b64decode(str(link["href"]).split(",", 1)[1]) == (out / str(link["download"])).read_bytes()


@pytest.mark.slow
def test_missing_branches_are_named(tmp_path: Path) -> None:
    runs = [Run({"model": m, "recipe": r}) for m, r in (("resnet50", "a"), ("resnet50", "b"), ("vgg16", "b"))]
    gathered = branches(tmp_path / "run", runs)
    del gathered[1].inputs["train"]  # type: ignore[attr-defined]
    text = words(reported(tmp_path, gathered))
    assert "resnet50,b: nothing from train" in text
    assert "vgg16,a: excluded, or not in this run" in text


def test_no_complete_branch_is_an_error_that_says_what_is_needed(tmp_path: Path) -> None:
    [branch] = branches(tmp_path / "run", [Run({"model": "resnet50"})])
    del branch.inputs["evaluate"]  # type: ignore[attr-defined]
    with pytest.raises(StageError, match="resnet50: nothing from evaluate") as caught:
        reported(tmp_path, [branch])
    assert "evaluate" in str(caught.value.hint)


@pytest.mark.slow
def test_branches_without_records_are_still_reported(tmp_path: Path) -> None:
    gathered = [Branch(branch.axes, branch.inputs) for branch in branches(tmp_path / "run", two())]
    assert "ResNet50 and VGG16 on digits" in words(reported(tmp_path, gathered))


@pytest.mark.slow
def test_twenty_four_branches_stay_small(tmp_path: Path) -> None:
    axes = [(m, r, s) for m in ("resnet50", "vgg16") for r in ("a", "b", "c") for s in (1, 2, 3, 4)]
    out = made(tmp_path, [Run({"model": m, "recipe": r, "seed": s}, model=m) for m, r, s in axes])
    assert (out / "report.html").stat().st_size < 8_000_000
    page = Page((out / "report.html").read_text())
    assert page.open == [] and len([1 for _, attrs in page.tags if attrs.get("class") in ("more", "less", "none")]) == 24 * 24
    assert len((out / "pairs.csv").read_text().splitlines()) == 1 + 276


@pytest.mark.slow
def test_several_seeds_are_told_as_one_network(tmp_path: Path) -> None:
    axes = [(m, s) for m in ("resnet50", "vgg16") for s in (1, 2, 3)]
    out = made(tmp_path, [Run({"model": m, "seed": s}, model=m, accuracy=0.9 + s / 100, params={"seed": s}) for m, s in axes])
    page = Page((out / "report.html").read_text())
    text = " ".join(page.text.split())
    assert page.open == []
    for sentence in (
        "mean test accuracy over 3 seeds, 95% interval",
        "by the mean over 3 seeds each, so that no lucky seed decides",
        "sd between seeds",
        "Every two networks",
        "Row minus column, in the order of validation; bold where the test shows a difference (Holm, 15 pairs)",
        "over seeds a model of two levels",
    ):
        assert sentence in text
    assert "behind the chosen by" in text and text.count("behind the chosen by") == 1


@pytest.mark.slow
def test_every_network_is_told_over_its_seeds_though_not_every_two_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "MOST", 2)
    axes = [(rate, seed) for rate in (1, 2, 3) for seed in (1, 2)]
    runs = [Run({"rate": r, "seed": s}, accuracy=1 - r / 10, params={"seed": s, "learning_rate": r}) for r, s in axes]
    out = made(tmp_path, runs, Data(classes=("a", "b"), train=20, validation=40, test=40))
    [table] = re.findall(
        r'aria-label="Comparison of the networks over their seeds".*?</table>', (out / "report.html").read_text(), re.S
    )
    assert re.findall(r"<span>(\d)</span></span>", table) == ["1", "2", "3"]
    text = words(out)
    assert "its p is corrected for 2 comparisons (Holm)" in text and "Only the 2 best on validation are compared" in text


@pytest.mark.slow
def test_a_metric_that_is_not_defined_is_a_dash(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", two())
    file = gathered[0].inputs["evaluate"] / "metrics.json"
    metrics = json_files.read(file)
    for split in ("validation", "test"):
        metrics[split] |= {f"{name}{end}": None for name in ("macro_f1", "log_loss", "auc") for end in ("", "_interval")}
    json_files.write(file, metrics)
    out = reported(tmp_path, gathered)
    html = (out / "report.html").read_text()
    assert html.count('<td class="number" data-value="">\N{EN DASH}</td>') >= 3 and "None" not in html
    [row, _] = csv.DictReader(io.StringIO((out / "report.csv").read_text()))
    assert [row[f"test_{name}"] for name in ("macro_f1", "log_loss", "auc")] == ["", "", ""]


@pytest.mark.slow
def test_one_branch_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    out = made(tmp_path, [Run({})])
    assert not (out / "pairs.csv").exists()
    assert "Every two" not in words(out)


@pytest.mark.slow
def test_what_has_no_interval_is_told_without_one(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", [Run({"model": "resnet50", "again": again}, accuracy=1.0) for again in (0, 1)])
    for branch in gathered:
        file = branch.inputs["evaluate"] / "metrics.json"
        metrics = json_files.read(file)
        metrics["test"] |= {f"{name}_interval": None for name in ("macro_f1", "auc", "log_loss")}
        json_files.write(file, metrics)
    out = reported(tmp_path, gathered)
    cells = re.findall(r'<td class="number" data-value="(?:1.0|0.9|0.2231.*)">(.+?)</td>', (out / "report.html").read_text())
    assert {"1.00", "0.900", "0.22"} <= set(cells)
    rows = list(csv.DictReader(io.StringIO((out / "report.csv").read_text())))
    assert {(row["test_macro_f1"], row["test_macro_f1_low"], row["test_macro_f1_high"]) for row in rows} == {("1.0", "", "")}
    [pair] = csv.DictReader(io.StringIO((out / "pairs.csv").read_text()))
    assert [pair[f"macro_f1_difference{end}"] for end in ("", "_low", "_high")] == ["0.0", "", ""]


@pytest.mark.slow
def test_report_imports_no_keras() -> None:
    code = "import sys, stages.report; print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ODD = {
    "duplicates": {
        "across_splits": 1, "within": 0, "conflicting": 1, "pairs": [["a.png", "b.png"]], "leaked": {"validation": 0, "test": 1},
        "near": {"across_splits": 2, "within": 0, "conflicting": 0, "pairs": [["c.png", "d.png"]], "distance": 7, "small": 3, "flat": 0},
        "shown": [
            {"kind": "near", "paths": ["<b>x</b>.png", "d.png"], "splits": ["train", "test"],
             "labels": ["<script>alert(1)</script>", "plain"], "similarity": 0.99, "mirrored": True},
        ],
        "dropped": [{"path": "<i>e</i>.png", "copy_of": "f.png"}],
    },
    "outliers": {"brightness": {"median": 120.0, "total": 9, "unit": "mean luminance",
                                "images": [{"path": "\"><i>g.png", "value": 3.5, "score": -7.1}]}},
    "cues": [{"property": "file size", "score": 0.91, "interval": [0.85, 0.95], "chance": 0.5, "images": 90,
              "typical": {"<script>alert(1)</script>": "20", "plain": "90"}}],
}  # fmt: skip


def test_a_leak_that_was_measured_is_not_told_again_as_what_the_audit_suspects(tmp_path: Path) -> None:
    leak = FINDING | {"rule": "leakage", "title": "4 of 90 test images are among the training images"}
    suspected = [FINDING | {"rule": rule, "title": rule} for rule in ("near-copies-across-splits", "conflicting-labels")]
    runs = [Run({"model": "resnet50"}, findings=[leak]), Run({"model": "vgg16"}, findings=[])]
    gathered = branches(tmp_path, runs)
    for branch in gathered:
        json_files.write(branch.inputs["preprocess"] / "checks.json", suspected)
    measured, unmeasured = read_results(gathered)[0]
    assert [found["rule"] for found in measured.findings] == ["conflicting-labels", "leakage"]
    assert [found["rule"] for found in unmeasured.findings] == ["near-copies-across-splits", "conflicting-labels"]


def with_audit(folder: Path, pictures: dict[str, str]) -> Path:
    """The report of a run whose audit found something; class and file names are hostile."""
    gathered = branches(folder / "run", two(), HOSTILE)
    ingest = folder / "run" / "ingest"
    audit = json_files.read(ingest / "audit.json") | ODD
    json_files.write(ingest / "audit.json", audit)
    json_files.write(ingest / "pictures.json", pictures)
    return reported(folder, gathered)


def test_copies_outliers_and_telling_properties_are_shown_with_pictures(tmp_path: Path) -> None:
    pictures = {"<b>x</b>.png": "AAAA", '"><i>g.png': "BBBB"}
    out = with_audit(tmp_path, pictures)
    page = Page((out / "report.html").read_text())
    assert page.open == [] and [tag for tag, _ in page.tags if tag in ("script", "b", "i")] == ["script"]
    shown = {attrs["src"]: attrs["alt"] for tag, attrs in page.tags if tag == "img" and "jpeg" in str(attrs["src"])}
    assert shown == {
        "data:image/jpeg;base64,AAAA": "<b>x</b>.png, <script>alert(1)</script>, train",
        "data:image/jpeg;base64,BBBB": '"><i>g.png, brightness 3.5',
    }
    text = " ".join(page.text.split())
    for words in (
        "near copy, mirrored, correlation 0.9900 across splits two classes", "no picture", "<i>e</i>.png", "3 images of fewer than 16 pixels",
        "brightness: 9 images far from the median of 120", "file size", "0.85 to 0.95",
    ):  # fmt: skip
        assert words in text


@pytest.mark.slow
def test_what_was_left_out_or_not_looked_at_is_said(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", two())
    file = tmp_path / "run" / "ingest" / "audit.json"
    odd = {"unsampled": 1234, "others": ["a.txt", "b.txt"], "other_files": 60, "too_few_for_cues": ["rare"]}
    json_files.write(file, json_files.read(file) | odd)
    text = " ".join(Page((reported(tmp_path, gathered) / "report.html").read_text()).text.split())
    for words in ("left out by subset1 234", "and 58 more", "not looked at: rare has fewer than 5 training images"):
        assert words in text


@pytest.mark.slow
def test_pictures_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    pictures = {"<b>x</b>.png": "A" * 1_400_000, "d.png": "B" * 200_000, '"><i>g.png': "CCCC"}
    html = (with_audit(tmp_path, pictures) / "report.html").read_text()
    assert "A" * 1_400_000 in html and "BBBB" * 9 not in html and "base64,CCCC" in html
