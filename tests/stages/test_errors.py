"""The section on errors: the right pictures under the right names, as many as there is room for, and who errs like whom."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from kpipe.stage import Branch
from stages import json_files
from stages.reporting import agreement, backends, errors, paired, pictures, verdict, wording
from stages.reporting.pictures import Store
from stages.reporting.results import Result, read_results
from stages.reporting.trainings import alone
from tests.stages.fake_artifacts import Data, Run, branches
from tests.stages.test_report import HOSTILE, Page, reported, two

TIMES = "\N{MULTIPLICATION SIGN}"
PHOTOGRAPHS = Data(classes=("cat", "dog"), train=40, validation=20, test=60, size=120)


def results_of(folder: Path, number: int = 2, data: Data = PHOTOGRAPHS) -> list[Result]:
    models = ("resnet50", "vgg16")
    runs = [Run({"model": models[i % 2], "seed": i}, model=models[i % 2], accuracy=0.7) for i in range(number)]
    return read_results(branches(folder, runs, data))[0]


def shown(results: list[Result], room: int, monkeypatch: pytest.MonkeyPatch) -> errors.Errors:
    monkeypatch.setattr(errors, "ROOM", room)
    return errors.shown(results, verdict.judge(results))


def decoded(link: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2])))


def test_a_picture_is_the_row_that_was_asked_for_and_is_held_once(tmp_path: Path) -> None:
    first, second = results_of(tmp_path)
    pixels = np.load(first.folder("ingest") / "images.npy")
    pixels[7], pixels[8] = 30, 200
    np.save(first.folder("ingest") / "images.npy", pixels)
    held = Store(100_000)
    found = [held.take(result, row) for result, row in ((first, 7), (second, 7), (first, 8))]
    assert [picture and picture.number for picture in found] == [1, 1, 2] and len(held.held) == 2
    for picture, grey in zip(found, (30, 30, 200), strict=True):
        assert picture and (picture.width, picture.height) == (120, 120)
        image = decoded(picture.data)
        assert image.size == (96, 96) and abs(np.asarray(image).mean() - grey) < 2
    assert held.room == 100_000 - sum(len(picture.data.partition(",")[2]) for picture in held.held.values())


def test_heat_is_opacity_in_one_hue() -> None:
    heat = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
    painted = np.asarray(decoded(pictures.overlay(heat)))
    assert painted.shape == (5, 5, 4)
    assert np.array_equal(painted[..., 3], np.rint(heat * 0.75))
    assert (painted[heat > 0][:, :3] == pictures.HUE).all()


@pytest.mark.parametrize(
    ("at", "words"),
    [((0, 0), "top left"), ((6, 6), "bottom right"), ((3, 3), "middle"), ((3, 0), "middle left"), ((0, 3), "top"), (None, "")],
)
def test_a_map_tells_in_words_where_it_is_strongest(at: tuple[int, int] | None, words: str) -> None:
    heat = np.zeros((7, 7), np.uint8)
    if at:
        heat[at] = 9
    assert pictures.place(heat) == words


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.9349, "0.93"), (0.9949, "0.99"), (0.9951, "> 0.99"), (1.0, "> 0.99"), (0.005, "0.01"), (1e-9, "< 0.01")],
)
def test_a_probability_is_never_rounded_to_certainty(value: float, shown: str) -> None:
    assert wording.probability(value) == shown


def test_where_room_is_short_branches_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = results_of(tmp_path, 6)
    everything = shown(results, 10**9, monkeypatch)
    galleries = [*everything.contenders, *everything.others]
    assert all(len(gallery.loss) == len(gallery.right) == 12 and not gallery.left_out for gallery in galleries)
    for gallery in galleries:
        maps = np.load(gallery.result.folder("evaluate") / "heat.npy")
        for case in (*gallery.loss, *gallery.right):
            assert [heat.name for heat in case.heats] == list(dict.fromkeys((case.told["predicted"], case.told["label"])))
            for heat in case.heats:
                opacity = np.asarray(decoded(heat.overlay))[..., 3]
                assert np.array_equal(opacity, np.rint(0.75 * maps[case.told["maps"][heat.name]]))
    taken = sum(len(picture.data) for picture in everything.pictures)
    assert len(everything.pictures) < 6 * 24  # branches show the same images, each held once
    little = shown(results, taken // 3, monkeypatch)
    galleries = [*little.contenders, *little.others]
    assert [gallery.result.number for gallery in galleries[:2]] == [gallery.result.number for gallery in everything.contenders]
    for gallery in galleries:
        assert len(gallery.loss) + len(gallery.right) + gallery.left_out == 24
        assert gallery.left_out and len(gallery.loss) >= 2
    overlays = sum(len(h.overlay) for g in galleries for case in (*g.loss, *g.right) for h in case.heats)
    assert sum(len(picture.data.partition(",")[2]) for picture in little.pictures) + overlays <= taken // 3


def page_of(folder: Path, gathered: list[Branch]) -> tuple[Page, str, str]:
    """The page, and its section on errors as it is and as text."""
    html = (reported(folder, gathered) / "report.html").read_text()
    section = html[html.index('<section id="errors"') :].partition("</section>")[0] + "</section>"
    return Page(html), section, " ".join(Page(section).text.split())


@pytest.mark.slow
def test_page_shows_every_image_with_its_names_and_probabilities(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", two(), PHOTOGRAPHS)
    page, section, text = page_of(tmp_path, gathered)
    assert not page.open and ("#errors" in [attrs.get("href") for tag, attrs in page.tags if tag == "a"])
    told = json_files.read(gathered[1].inputs["evaluate"] / "explained.json")
    wrong = next(image for image in told["images"] if image["kind"] == "loss")
    assert f"called {wrong['predicted']} 0.80, is {wrong['label']} 0.20; loss 1.61 {wrong['path']}" in text
    wrongs = [int((~result.test["correct"]).sum()) for result in read_results(gathered)[0]]
    assert wrongs[1] < 12 and f"vgg16: 12 of the highest loss, {wrongs[1]} of them wrong" in text and "12 that are right" in text
    assert f"Layer conv5_block3_out, 7 {TIMES} 7 places." in text
    assert "deeper ones" not in text and "left out" not in text and "with care" not in text
    ids = re.findall(r'<image id="(picture-\d+)"', section)
    assert len(set(ids)) == len(ids) and set(re.findall(r'<use href="#([^"]+)"', section)) == set(ids)
    labels = re.findall(r'aria-label="([^"]*)"', section)
    assert f"{wrong['path']}, {wrong['label']}" in labels
    assert any(re.fullmatch(rf"for {wrong['predicted']}, most at the (top|middle|bottom).*", label) for label in labels)


def test_page_says_what_a_reader_of_the_maps_must_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "ROOM", 60_000)
    run = Run({"model": "vgg16"}, model="vgg16", accuracy=0.7, training={"head": {"pooling": "flatten"}})
    gathered = branches(tmp_path / "run", [run], PHOTOGRAPHS)
    file = gathered[0].inputs["evaluate"] / "explained.json"
    json_files.write(file, json_files.read(file) | {"last": False, "places": [4, 6]})
    heat = np.load(file.with_name("heat.npy"))
    heat[0] = 0
    np.save(file.with_name("heat.npy"), heat)
    _, section, text = page_of(tmp_path, gathered)
    for words in (
        f"4 {TIMES} 6 places; deeper ones have too few",
        "read these maps with care",
        "left out to keep the page small",
    ):
        assert words in text
    first = json_files.read(file)["images"][0]["predicted"]
    assert f"nothing for {first}" in text and f'aria-label="nothing speaks for {first}"' in section
    assert "Do they err" not in text  # one branch agrees with nobody


@pytest.mark.slow
def test_hostile_names_are_shown_in_pictures_words_too(tmp_path: Path) -> None:
    page, section, text = page_of(tmp_path, branches(tmp_path / "run", two(), HOSTILE))
    assert [tag for tag, _ in page.tags if tag in ("script", "b", "i")] == ["script"]  # the page's own
    assert "for <script>alert(1)</script>" in text
    labels = [str(attrs["aria-label"]) for tag, attrs in Page(section).tags if tag == "svg" and attrs.get("role") == "img"]
    assert any(label.startswith("for <script>alert(1)</script>, most at the") for label in labels)


def answering(results: list[Result], labels: list[str], *answers: list[str]) -> None:
    """Let branches have these test images and answers; None: an image that a branch did not have."""
    for result, said in zip(results, answers, strict=True):
        rows = [(f"{i}.png", label, answer) for i, (label, answer) in enumerate(zip(labels, said, strict=True)) if answer]
        table = pd.DataFrame(rows, columns=["path", "label", "predicted"]).set_index("path").assign(hash="0")
        result.__dict__["test"] = table.assign(correct=table["label"] == table["predicted"])


def test_agreement_counted_by_hand(tmp_path: Path) -> None:
    results = results_of(tmp_path, 3)
    answering(results, [*"aaabbbcc"], [*"aabbcacb"], [*"aacbcbcb"], ["", "", "", *"bbbcc"])
    found = {one.numbers: one for one in agreement.pairs(results)}
    # labels a a a b b b c c; first a a b b c a c b; second a a c b c b c b
    assert found[1, 2].parts == (4, 0, 1, 2, 1) and found[1, 2].same == 6 and found[1, 2].images == 8
    assert found[1, 3].parts == (2, 0, 3, 0, 0)
    assert found[2, 3].parts == (3, 0, 2, 0, 0)
    # first: a 3, b 3, c 2; second: a 2, b 3, c 3, of 8: by chance 6 + 9 + 6 of 64
    assert found[1, 2].kappa == pytest.approx((6 / 8 - 21 / 64) / (1 - 21 / 64))


def test_kappa_is_that_of_scikit_learn(tmp_path: Path) -> None:
    rng, results = np.random.default_rng(3), results_of(tmp_path, 2)
    labels, first, second = (rng.choice([*"abcde"], 200, p=[0.5, 0.2, 0.1, 0.1, 0.1]).tolist() for _ in range(3))
    second = [a if rng.random() < 0.6 else b for a, b in zip(first, second, strict=True)]
    answering(results, labels, first, second)
    [found] = agreement.pairs(results)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert 0.3 < cohen_kappa_score(first, second) < 0.9


def test_who_always_says_the_same_has_no_kappa_and_who_shares_nothing_no_agreement(tmp_path: Path) -> None:
    results = results_of(tmp_path, 3)
    answering(results, [*"abab"], ["a", "a", "", ""], ["a", "a", "", ""], ["", "", "a", "b"])
    [found] = agreement.pairs(results)
    assert found.numbers == (1, 2) and found.kappa is None and found.parts == (1, 0, 0, 1, 0)


@pytest.mark.parametrize("column", ["label", "hash"])
def test_images_under_two_labels_and_two_files_at_one_path_are_not_the_same_anywhere(tmp_path: Path, column: str) -> None:
    results = results_of(tmp_path, 2)
    table = results[1].test.copy()
    table.loc[table.index[:3], column] = "another"
    results[1].__dict__["test"] = table
    [agreed] = agreement.pairs(results)
    compared = paired.compare(*alone(results))
    assert compared is not None
    assert agreed.images == compared.images == backends.disagreement(*results)[1] == len(table) - 3


def wrong_at(result: Result, sure: dict[int, float]) -> None:
    """Let a branch be right on all test images but these, which it calls the other class with these probabilities."""
    file = result.folder("evaluate") / "predictions.csv"
    table = pd.read_csv(file)
    test = table.index[table["split"] == "test"]
    for i, row in enumerate(test):
        label = table.at[row, "label"]
        other = {"cat": "dog", "dog": "cat"}[label]
        table.loc[row, ["predicted", "correct"]] = [other, 0] if i in sure else [label, 1]
        table.loc[row, [f"p_{label}", f"p_{other}"]] = [1 - sure[i], sure[i]] if i in sure else [0.9, 0.1]
    table.to_csv(file, index=False)


def test_disputes_are_the_images_that_one_branch_alone_got_right(tmp_path: Path) -> None:
    first, second = results_of(tmp_path)
    wrong_at(first, {4: 0.9, 50: 0.6})
    wrong_at(second, {4: 0.9, **{i: 0.55 + 0.01 * i for i in range(10, 20)}})
    found = agreement.disputes(first, second, Store(10**6))
    assert [(one.winner, one.loser, one.total, len(one.images), one.left_out) for one in found] == [
        (first, second, 10, 6, 0), (second, first, 1, 1, 0),
    ]  # fmt: skip
    paths = first.test.index
    assert [image.path for image in found[0].images] == [paths[i] for i in (19, 18, 17, 16, 15, 14)]
    label = str(first.test.at[paths[19], "label"])
    row = int(pd.read_csv(first.folder("ingest") / "manifest.csv").set_index("path").at[paths[19], "row"])
    other = {"cat": "dog", "dog": "cat"}[label]
    assert found[0].images[0].label == label
    assert [tuple(said) for said in found[0].images[0].opinions] == [
        (first, row, label, 0.9, 0.9), (second, row, other, pytest.approx(0.74), pytest.approx(0.26)),
    ]  # fmt: skip
    picture = Store(10**6).take(first, row)
    assert picture and picture.data == found[0].images[0].picture.data
    crowded = agreement.disputes(first, second, Store(0))
    assert [(one.images, one.left_out) for one in crowded] == [([], 6), ([], 1)]


@pytest.mark.slow
def test_page_tells_who_agrees_with_whom(tmp_path: Path) -> None:
    results = results_of(tmp_path / "run", 3)
    for result, sure in zip(results, ({1: 0.8}, {1: 0.8, 2: 0.7, 3: 0.6}, {5: 0.8}), strict=True):
        wrong_at(result, sure)
    _, _, text = page_of(tmp_path, [result.branch for result in results])
    judged = verdict.judge(results)
    first, second = judged.chosen, judged.rivals[0].second.lead
    one = next(pair for pair in agreement.pairs(results) if set(pair.numbers) == {first.number, second.number})
    assert f"give the same answer for {one.same} of 60 test images, kappa {one.kappa:.2f}" in text
    assert f"wrong alike {one.parts.wrong_alike} wrong differently {one.parts.wrong_apart}" in text
    disputed = agreement.disputes(first, second, Store(10**6))
    assert disputed and all(f"Only {it.winner.name} is right, not {it.loser.name} {len(it.images)} of" in text for it in disputed)
    assert "Every pair of branches" in text and "In numbers of images" in text
