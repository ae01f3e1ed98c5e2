"""Golden: what each stage's code is made of. An edit of any of these files reruns that stage, of any other does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpipe.closure import Project

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {f"{name}/__init__.py" for name in ("data", "network", "reporting", "diagnosis", "tools", "training")} | {
    "__init__.py"
}

GOLDEN: dict[str, tuple[list[str], list[str]]] = {
    "ingest": (
        [
            "data/archives.py",
            "data/assignment.py",
            "data/audit.py",
            "data/bad_images.py",
            "data/colours.py",
            "data/copies.py",
            "data/cues.py",
            "data/datasets.py",
            "data/decoded.py",
            "data/duplicates.py",
            "data/files.py",
            "data/folders.py",
            "data/images.py",
            "data/inspection.py",
            "data/keras_sets.py",
            "data/labelled.py",
            "data/linked.py",
            "data/manifest.py",
            "data/outliers.py",
            "data/perceptual.py",
            "data/rows.py",
            "data/samples.py",
            "data/shallow_tree.py",
            "data/sources.py",
            "data/splits.py",
            "data/subset.py",
            "data/table_files.py",
            "data/tables.py",
            "data/traits.py",
            "data/unpacking.py",
            "disk.py",
            "ingest.py",
            "json_files.py",
        ],
        ["PIL", "numpy", "pandas", "sklearn"],
    ),
    "preprocess": (
        [
            "augment.py",
            "contact_sheet.py",
            "data/bad_images.py",
            "data/colours.py",
            "data/images.py",
            "data/manifest.py",
            "diagnosis/finding.py",
            "json_files.py",
            "pixels.py",
            "preprocess.py",
            "recipe_checks.py",
            "static_checks.py",
        ],
        ["PIL", "numpy"],
    ),
    "build": (
        [
            "build.py",
            "json_files.py",
            "network/flops.py",
            "network/graph.py",
            "network/keras_files.py",
            "network/weights.py",
            "pixels.py",
        ],
        ["h5py", "keras", "numpy"],
    ),
    "train": (
        [
            "augment.py",
            "data/labels.py",
            "data/manifest.py",
            "data/rows.py",
            "disk.py",
            "json_files.py",
            "network/activations.py",
            "network/augmented.py",
            "network/batchnorm.py",
            "network/cut.py",
            "network/device.py",
            "network/feed.py",
            "network/flops.py",
            "network/graph.py",
            "network/head.py",
            "network/keras_files.py",
            "network/parallel.py",
            "network/precision.py",
            "network/prefix.py",
            "network/scores.py",
            "train.py",
            "training/batches.py",
            "training/changes.py",
            "training/checkpoint.py",
            "training/costs.py",
            "training/feeds.py",
            "training/finder.py",
            "training/fitting.py",
            "training/loop.py",
            "training/objective.py",
            "training/phases.py",
            "training/rates.py",
            "training/schedule.py",
            "training/state.py",
            "training/times.py",
            "training/told.py",
            "training/training.py",
            "training/watch.py",
        ],
        ["jax", "keras", "numpy", "tensorflow"],
    ),
    "evaluate": (
        [
            "augment.py",
            "bootstrap.py",
            "calibration.py",
            "data/copies.py",
            "data/labels.py",
            "data/manifest.py",
            "data/rows.py",
            "diagnosis/augmentation.py",
            "diagnosis/batchnorm_gap.py",
            "diagnosis/branch.py",
            "diagnosis/dead_units.py",
            "diagnosis/finding.py",
            "diagnosis/imbalance.py",
            "diagnosis/input_scale.py",
            "diagnosis/label_errors.py",
            "diagnosis/leakage.py",
            "diagnosis/misaligned.py",
            "diagnosis/not_learning.py",
            "diagnosis/overfitting.py",
            "diagnosis/probe.py",
            "diagnosis/seen.py",
            "diagnosis/trained.py",
            "diagnosis/units.py",
            "diagnosis/untrained.py",
            "diagnosis/validation_stuck.py",
            "diagnosis/weights.py",
            "disk.py",
            "evaluate.py",
            "json_files.py",
            "metrics.py",
            "network/activations.py",
            "network/augmented.py",
            "network/batchnorm.py",
            "network/cut.py",
            "network/device.py",
            "network/feed.py",
            "network/graph.py",
            "network/keras_files.py",
            "network/parallel.py",
            "network/prefix.py",
            "network/scores.py",
            "pixels.py",
            "recipe_checks.py",
            "trained.py",
            "weighted.py",
        ],
        ["jax", "keras", "numpy", "scipy", "sklearn", "tensorflow"],
    ),
    "report": (
        [
            "json_files.py",
            "report.py",
            "reporting/audit.py",
            "reporting/calibration.py",
            "reporting/costs.py",
            "reporting/figures.py",
            "reporting/page.py",
            "reporting/palette.py",
            "reporting/provenance.py",
            "reporting/recipe.py",
            "reporting/results.py",
            "reporting/summary.py",
            "reporting/svg.py",
            "reporting/tables.py",
            "reporting/templates/backends.html",
            "reporting/templates/calibration.html",
            "reporting/templates/comparison.html",
            "reporting/templates/confusion.html",
            "reporting/templates/costs.html",
            "reporting/templates/curves.html",
            "reporting/templates/data.html",
            "reporting/templates/findings.html",
            "reporting/templates/macros.html",
            "reporting/templates/page.css",
            "reporting/templates/page.html",
            "reporting/templates/reproduce.html",
            "reporting/templates/verdict.html",
            "reporting/verdict.py",
            "reporting/wording.py",
        ],
        ["jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "scipy", "seaborn"],
    ),
    "tools.predict": (
        [
            "data/bad_images.py",
            "data/colours.py",
            "data/files.py",
            "data/images.py",
            "json_files.py",
            "network/device.py",
            "network/keras_files.py",
            "reporting/results.py",
            "tools/predict.py",
        ],
        ["PIL", "jax", "keras", "numpy", "pandas", "tensorflow"],
    ),
    "network.activations": (
        [
            "augment.py",
            "data/rows.py",
            "disk.py",
            "json_files.py",
            "network/activations.py",
            "network/augmented.py",
            "network/cut.py",
            "network/feed.py",
            "network/graph.py",
            "network/parallel.py",
            "network/prefix.py",
        ],
        ["jax", "keras", "numpy", "tensorflow"],
    ),
    "data.decoded": (
        ["data/bad_images.py", "data/colours.py", "data/decoded.py", "data/images.py", "data/rows.py", "disk.py"],
        ["PIL", "numpy"],
    ),
}


@pytest.mark.parametrize("stage", GOLDEN)
def test_closure(stage: str) -> None:
    found = Project(ROOT).closure(f"stages.{stage}")
    files, imports = GOLDEN[stage]
    assert sorted({path.removeprefix("stages/") for path in found.code} - PACKAGES) == files
    assert sorted(found.imports) == imports


@pytest.mark.parametrize("stage", ["ingest", "preprocess", "report"])
def test_keras_free_stages_stay_so(stage: str) -> None:
    found = Project(ROOT).closure(f"stages.{stage}")
    assert not found.imports & {"keras", "tensorflow", "jax"}


def test_training_does_not_depend_on_what_comes_after_it() -> None:
    code = Project(ROOT).closure("stages.train").code
    assert not [path for path in code if any(word in path for word in ("reporting", "diagnosis", "metrics", "figures"))]


def test_a_backbone_enters_only_where_it_is_chosen() -> None:
    closure = Project(ROOT).closure("stages.build", ["stages.backbones.vgg16"])
    assert [path for path in closure.code if "backbones" in path] == ["stages/backbones/vgg16.py", "stages/backbones/__init__.py"]
