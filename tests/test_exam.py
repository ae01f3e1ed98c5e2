"""The exam of the diagnosis: its cases are what they say, and its marks are just."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.exam import declared, marks
from tests.benchmarks.exam.cases import BACKENDS, MODELS, Case, cases
from tests.benchmarks.exam.pictures import COUNTS, Source

SOURCE = Source("textures", 1)


def shown(folder: Path) -> dict[str, dict[str, list[bytes]]]:
    """split -> class -> contents of its files."""
    return {
        split: {
            place.name: [file.read_bytes() for file in sorted(place.iterdir())] for place in sorted((folder / split).iterdir())
        }
        for split in COUNTS
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[bytes]]]:
    return shown(SOURCE.write(tmp_path_factory.mktemp("whole"), Path()))


def changed(tmp_path: Path, **change: float) -> dict[str, dict[str, list[bytes]]]:
    return shown(Source(SOURCE.kind, SOURCE.seed, change).write(tmp_path, Path()))


def test_there_are_enough_cases_of_every_kind() -> None:
    number = Counter((case.half, bool(case.fault)) for case in cases())
    assert sum(count for (_, fault), count in number.items() if fault) >= 200
    assert sum(count for (_, fault), count in number.items() if not fault) >= 300
    assert min(number.values()) > 0.4 * max(number.values())
    assert {(case.model, case.backend) for case in cases()} == {(model, backend) for model in MODELS for backend in BACKENDS}
    assert all(case.rules for case in cases() if case.fault)


def test_all_cases_can_be_examined_on_one_backend() -> None:
    on_jax = cases("jax")
    assert {case.backend for case in on_jax} == {"jax"} and {case.name for case in on_jax} == {case.name for case in cases()}


def test_a_data_set_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes write the same pictures."""
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr("PIL.Image.Image.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        SOURCE.write(tmp_path, Path())
    assert not (tmp_path / SOURCE.name).exists()
    folder = SOURCE.write(tmp_path, Path())
    first = shown(folder)
    monkeypatch.setattr(Path, "exists", lambda _: False)  # another process was first, while this one wrote
    assert SOURCE.write(tmp_path, Path()) == folder and shown(folder) == first


def test_a_whole_data_set_has_no_picture_twice(whole: dict[str, dict[str, list[bytes]]]) -> None:
    files = [file for labelled in whole.values() for own in labelled.values() for file in own]
    assert len(set(files)) == len(files) and {split: len(labelled) for split, labelled in whole.items()} == dict.fromkeys(
        COUNTS, 3
    )


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_leaked_pictures(tmp_path: Path, share: float) -> None:
    found = changed(tmp_path, leak=share)
    known = {file for own in found["train"].values() for file in own}
    for split in ("validation", "test"):
        files = [file for own in found[split].values() for file in own]
        assert sum(file in known for file in files) == pytest.approx(share * len(files), abs=2)


def test_rare_classes(tmp_path: Path, whole: dict[str, dict[str, list[bytes]]]) -> None:
    found = changed(tmp_path, imbalance=8)
    counts = [len(own) for own in found["train"].values()]
    assert counts[0] == len(whole["train"]["coarse"]) and counts[1] == counts[2] == round(counts[0] / 8)
    assert found["validation"] == whole["validation"]


def test_names_that_are_off_by_one(tmp_path: Path, whole: dict[str, dict[str, list[bytes]]]) -> None:
    found = changed(tmp_path, rotate=1)
    assert found["train"] == whole["train"] and found["validation"]["coarse"] == whole["validation"]["fine"]


def test_wrong_labels(tmp_path: Path, whole: dict[str, dict[str, list[bytes]]]) -> None:
    found = changed(tmp_path, mislabel=0.2)
    wrong = sum(file not in whole["train"][name] for name, own in found["train"].items() for file in own)
    assert wrong == pytest.approx(0.2 * sum(map(len, whole["train"].values())), abs=2) and found["test"] == whole["test"]


def finding(rule: str, severity: str, fix: str | None = None) -> dict[str, Any]:
    return {"rule": rule, "severity": severity, "fix": fix}


def told(*findings: dict[str, Any], accuracy: float = 0.5, healthy: float = 0.9, mended: float | None = None) -> dict[str, Any]:
    return {"findings": list(findings), "accuracy": accuracy, "healthy": healthy, "mended": mended}


FAULTY = Case("declared", SOURCE, "resnet50", "tensorflow", {"scaling": "unit"}, "scale", ("input-scale",))
HEALTHY = Case("declared", SOURCE, "resnet50", "tensorflow")


def test_marks() -> None:
    right = marks.mark(FAULTY, told(finding("input-scale", "error"), finding("not-learning", "error"), mended=0.89))
    assert (right.named, right.others, right.harmless, right.restored) == (True, (), False, True)
    assert marks.mark(FAULTY, told(finding("input-scale", "note"))).wrong  # a note is not enough
    assert marks.mark(FAULTY, told()).wrong and not marks.mark(FAULTY, told(accuracy=0.88)).wrong
    assert marks.mark(FAULTY, told(finding("input-scale", "error"), mended=0.6)).restored is False
    assert marks.mark(FAULTY, told(finding("imbalance", "warning"))).others == ("imbalance",)
    assert marks.mark(HEALTHY, told(finding("overfitting", "warning"))).wrong
    assert not marks.mark(HEALTHY, told(finding("label-errors", "note"))).wrong


def test_each_run_is_told_by_its_kind() -> None:
    of_faulty = [told(finding("input-scale", "error")), told(), told(accuracy=0.88)]
    of_healthy = [told(finding("overfitting", "warning")), told(finding("label-errors", "note"))]
    lines = [marks.mark(FAULTY, one).line() for one in of_faulty] + [marks.mark(HEALTHY, one).line() for one in of_healthy]
    assert [line.split(":")[0] for line in lines] == ["named", "missed", "harmless", "false alarm", "silent"]


def test_the_table_counts_them() -> None:
    some = [told(finding("input-scale", "error"), mended=0.89), told(), told(accuracy=0.88)]
    table = marks.table([*(marks.mark(FAULTY, one) for one in some), marks.mark(HEALTHY, told(finding("overfitting", "error")))])
    assert "| scale, declared | input-scale | 3 | 1 | 1 of 2 (50 %" in table and "| 1 of 1 (100 %" in table
    assert "Healthy runs: 1; with a false error or warning: 1 of 1" in table and "- overfitting: 1" in table


def test_a_fix_is_a_line_of_the_pipeline_file_and_is_applied(tmp_path: Path) -> None:
    line = 'stages.preprocess.params.augment = "light"\nstages.preprocess.params.zoom = 0.1'
    assert marks.fix(FAULTY, told(finding("one-class", "error", "x = 1"), finding("input-scale", "error", line))) == line
    (tmp_path / "resnet50_notop.weights.h5").touch()
    row = declared.row(FAULTY, line, tmp_path, tmp_path)
    assert (row["augment"], row["zoom"], row["scaling"]) == ("light", 0.1, "unit")
