"""What the audit says of outliers and of properties that tell the class, and what is made a finding of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from kpipe.stage import Stage
from stages import ingest
from stages.data import cues, outliers, traits
from stages.data.manifest import Item
from stages.diagnosis import static_checks

LABELS = ("cats", "dogs")


def picture(seed: int, size: tuple[int, int] = (60, 40), level: int = 128, blur: float = 0.0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray(np.clip(level + noise, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))


def folder(root: Path, change=lambda label, i: {}, each: int = 40, suffix=lambda label, i: "png") -> Path:
    for c, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        for i in range(each):
            picture(1000 * c + i, **change(label, i)).save(root / label / f"{i:02d}.{suffix(label, i)}")
    return root


def audited(tmp_path: Path, source: Path) -> tuple[dict, dict]:
    stage = Stage(out=tmp_path / "out", scratch=tmp_path / "scratch", store=tmp_path / "store")
    ingest.run(stage, source=source, image_size=32)
    return tuple(json.loads((stage.out / f"{name}.json").read_text()) for name in ("audit", "pictures"))  # type: ignore[return-value]


def findings(audit: dict) -> dict[str, dict]:
    dataset = {"counts": audit["counts"]}
    return {f.evidence["property"]: f.to_json() for f in static_checks.of_data(dataset, audit) if f.rule == "spurious-cue"}  # type: ignore[misc]


def test_outliers_are_the_dark_the_blurred_and_the_long(tmp_path):
    odd = {3: {"level": 20}, 4: {"blur": 4.0}, 5: {"size": (400, 20)}}
    audit, pictures = audited(tmp_path, folder(tmp_path / "pets", lambda label, i: odd.get(i, {}) if label == "dogs" else {}))
    first = {name: found["images"][0]["path"] for name, found in audit["outliers"].items()}
    assert first == {"brightness": "dogs/03.png", "sharpness": "dogs/04.png", "aspect": "dogs/05.png"}
    assert audit["outliers"]["aspect"]["images"] == [{"path": "dogs/05.png", "value": 20.0, "score": pytest.approx(80, abs=30)}]
    assert audit["outliers"]["aspect"]["median"] == 1.5
    assert set(first.values()) <= set(pictures)


def test_scores_are_those_of_the_median_and_its_deviation():
    values = np.random.default_rng(1).normal(10, 3, 5001)
    assert np.allclose(outliers.scores(values), (values - 10) / 3, atol=0.15 * np.abs(values - 10).max() / 3)
    assert (outliers.scores(np.full(9, 2.0)) == 0).all()
    assert outliers.scores(np.array([1.0] * 9 + [5.0]))[-1] == pytest.approx(4 / (1.2533 * 0.4))


def test_outliers_are_the_most_extreme_and_at_most_some(tmp_path):
    some = [Item(f"{i}", "a", "", 100, 100, "RGB", "PNG", 1, i) for i in range(400)]
    for i in range(25):
        some[i] = replace(some[i], width=1000 + i)
    look = traits.measure((np.zeros((8, 8, 3), np.uint8) for _ in some), (8, 8))
    told = outliers.find(some, look)["aspect"]
    assert told["total"] == 25 and len(told["images"]) == outliers.LISTED and told["images"][0]["path"] == "24"


def test_a_size_of_file_that_tells_the_class_is_a_warning_with_its_evidence(tmp_path):
    source = folder(tmp_path / "pets")
    for path in (source / "cats").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    for path in (source / "dogs").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"), quality=85)
        path.unlink()
    audit, _ = audited(tmp_path, source)
    [found] = findings(audit).values()
    assert found["severity"] == "warning" and found["evidence"]["property"] == "file size in bytes"
    assert found["evidence"]["balanced_accuracy"] == 1.0 and found["evidence"]["chance"] == 0.5
    assert 0.8 < found["evidence"]["interval"][0] < 1 and "cats: " in found["evidence"]["typical"]


def test_a_size_of_file_that_follows_from_the_pictures_detail_is_a_note(tmp_path):
    audit, _ = audited(
        tmp_path, folder(tmp_path / "pets", lambda label, i: {"blur": 1.0 * (label == "dogs"), "level": 80 + 13 * i % 70})
    )
    found = findings(audit)
    assert {name: one["severity"] for name, one in found.items()} == {"file size in bytes": "note", "sharpness": "note"}


@pytest.mark.parametrize(
    ("change", "suffix", "name", "severity"),
    [
        (lambda label, i: {"size": (60, 40) if label == "cats" else (60 + i, 40)}, None, "width", "warning"),
        (lambda label, i: {"size": (60, 40) if label == "cats" else (60, 41 + i)}, None, "height", "warning"),
        (lambda label, i: {}, lambda label, i: "bmp" if label == "cats" else "png", "format", "warning"),
        (lambda label, i: {"level": 100 if label == "cats" else 150}, None, "mean brightness", "note"),
        (lambda label, i: {"level": 100 if label == "cats" else 150}, None, "border colour", "note"),
    ],
)
def test_a_property_that_tells_the_class_is_found(tmp_path, change, suffix, name, severity):
    audit, _ = audited(tmp_path, folder(tmp_path / "pets", change, suffix=suffix or (lambda label, i: "png")))
    assert findings(audit)[name]["severity"] == severity


def test_nothing_is_found_where_the_files_are_alike(tmp_path):
    vary = lambda label, i: {"size": (50 + 7 * i % 30, 40 + 11 * i % 20), "level": 90 + 13 * i % 70}  # noqa: E731
    audit, _ = audited(tmp_path, folder(tmp_path / "pets", vary))
    assert findings(audit) == {} and {cue["property"] for cue in audit["cues"]} >= {"file size in bytes", "width", "height"}
    assert "format" not in {cue["property"] for cue in audit["cues"]}


@pytest.mark.parametrize("seed", range(8))
def test_no_false_alarm_by_chance_in_few_images(seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(20, 1)), np.array(["a", "b"] * 10)
    score, (low, high) = cues.predicted(features, labels, seed)
    assert list(static_checks.spurious_cues([cue(score, [low, high])])) == [] and low < 0.5 + 0.15 and low < high


def cue(score, interval, name="width"):
    return {"property": name, "score": score, "interval": interval, "chance": 0.5, "typical": {"a": "1"}}


def test_the_score_is_that_of_scikit_learn_fold_by_fold():
    rng = np.random.default_rng(3)
    labels = np.array(["a"] * 60 + ["b"] * 25 + ["c"] * 15)
    features = rng.normal(size=(100, 2)) + (labels == "b")[:, None]
    said = np.empty(100, labels.dtype)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=9).split(features, labels):
        tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=2, class_weight="balanced", random_state=9)
        said[test] = tree.fit(features[train], labels[train]).predict(features[test])
    score, (low, high) = cues.predicted(features, labels, 9)
    assert score == pytest.approx(balanced_accuracy_score(labels, said)) and low < score < high


def test_classes_with_too_few_images_tell_nothing():
    some = [Item(f"{i}", "ab"[i % 2], "", 10 + i % 2, 10, "RGB", "PNG", 1, i, "train") for i in range(8)]
    look = traits.measure((np.zeros((8, 8, 3), np.uint8) for _ in some), (8, 8))
    assert cues.find(some, look, 0) == [] and cues.too_few(some, 0) == ["a", "b"]


def test_only_training_images_count_where_a_class_is_too_small():
    some = [Item(f"{i}", "ab"[i % 2], "", 10, 10, "RGB", "PNG", 1, i, "test" if i == 1 else "train") for i in range(10)]
    assert cues.too_few(some, 0) == ["b"]


def test_near_copies_and_conflicts_are_findings():
    duplicates = {
        "across_splits": 0, "conflicting": 1, "pairs": [["a", "b"]], "leaked": {"validation": 0, "test": 2},
        "near": {"across_splits": 2, "conflicting": 0, "pairs": [["c", "d"]]},
    }  # fmt: skip
    counts = {split: {"a": 50, "b": 49} for split in ("train", "validation", "test")}
    [near] = static_checks.copies_across_splits(duplicates, counts)
    assert near.severity == "warning" and near.evidence["test_copies_of_training"] == 2 and near.evidence["first"] == "c = d"
    [note] = static_checks.copies_across_splits(duplicates | {"leaked": {"validation": 0, "test": 0}}, counts)
    assert (note.severity, note.rule, note.fix) == ("note", "near-copies-across-splits", None)
    [conflict] = static_checks.conflicting_copies(duplicates)
    assert conflict.evidence == {"exact_copies": 1, "near_copies": 0}


def test_exact_and_near_copies_are_one_finding():
    duplicates = {
        "across_splits": 1, "conflicting": 0, "pairs": [["a", "b"]], "leaked": {"validation": 1, "test": 3},
        "near": {"across_splits": 2, "conflicting": 0, "pairs": [["c", "d"]]},
    }  # fmt: skip
    counts = {split: {"a": 500} for split in ("train", "validation", "test")}
    audit = {"duplicates": duplicates, "imbalance": 1.0, "counts": counts}
    [found] = static_checks.of_data({"counts": counts}, audit)
    assert (found.rule, found.severity, found.fix) == (
        "copies-across-splits",
        "warning",
        'stages.ingest.params.duplicates = "drop"',
    )
    assert found.evidence == {
        "images": 3, "exact_copies": 1, "near_copies": 2, "validation_copies_of_training": 1, "test_copies_of_training": 3,
        "first": "a = b",
    }  # fmt: skip


def test_typical_values_are_medians_and_most_frequent_words():
    labels = np.array(["a", "a", "a", "b"])
    assert cues.typical([1.0, 60_000.4, 70_000.0, 3.14159], labels) == {"a": "60000", "b": "3.142"}
    assert cues.typical(["PNG", "JPEG", "PNG", "GIF"], labels) == {"a": "PNG", "b": "GIF"}
