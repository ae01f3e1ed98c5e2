"""What reruns, and what does not."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.engine.conftest import ALL, Toy

FITS = {"fit[a]", "fit[b]"}


def test_second_run_is_all_cached_and_prints_the_report_last(toy: Toy) -> None:
    assert toy.ran() == ALL
    result = toy.kpipe("run")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "reports/toy-tensorflow.html"
    assert result.err.count("cached") == 4
    assert toy.report == "Toy\na: 10.0 after 8\nb: 40 after 8"


def test_changed_parameter_reruns_its_stage_and_what_follows(toy: Toy) -> None:
    toy.run()
    assert toy.ran("--set", "stages.fit.params.epochs=9") == FITS | {"report"}


def test_changed_axis_field_reruns_its_branch_alone(toy: Toy) -> None:
    toy.run()
    toy.edit("pipeline.toml", "rate = 2", "rate = 3")
    assert toy.ran() == {"fit[b]", "report"}


def test_default_written_out_reruns_nothing(toy: Toy) -> None:
    toy.edit("pipeline.toml", "epochs = 8\n", "")
    toy.run()
    toy.edit("pipeline.toml", 'rate = "${model.rate}"', 'rate = "${model.rate}"\nepochs = 1')
    assert toy.ran() == set()


def test_changed_default_in_code_reruns(toy: Toy) -> None:
    toy.edit("pipeline.toml", "epochs = 8\n", "")
    toy.run()
    toy.edit("stages/fit.py", "epochs: int = 1", "epochs: int = 2")
    assert toy.ran() == FITS | {"report"}


@pytest.mark.parametrize("file", ["stages/fit.py", "stages/helper.py", "stages/deep.py", "stages/load.py"])
def test_comment_docstring_and_layout_rerun_nothing(toy: Toy, file: str) -> None:
    toy.run()
    text = (toy.root / file).read_text()
    (toy.root / file).write_text(
        '"""Another docstring."""\n\n\n# a comment\n' + text.replace('"""Fits."""', "") + "\n# the end\n"
    )
    assert toy.ran() == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "rerun"),
    [
        ("stages/helper.py", "x * FACTOR", "FACTOR * x + 1", FITS | {"report"}),
        ("stages/deep.py", "10", "11", FITS | {"report"}),
        ("stages/title.txt", "Toy", "Other", {"report"}),
        ("stages/load.py", '" ".join', '"  ".join', ALL),
    ],
)
def test_changed_code_or_resource_reruns_what_uses_it(toy: Toy, file: str, old: str, new: str, rerun: set[str]) -> None:
    toy.run()
    toy.edit(file, old, new)
    assert toy.ran() == rerun


def test_same_output_upstream_stops_the_wave(toy: Toy) -> None:
    toy.run()
    toy.edit("stages/load.py", "sorted(source.iterdir())", "sorted(list(source.iterdir()))")
    assert toy.ran() == {"load"}


def test_input_bytes_and_names_count_and_time_stamps_do_not(toy: Toy) -> None:
    toy.run()
    os.utime(toy.root / "data" / "1.txt", (1, 1))
    assert toy.ran() == set()
    toy.write("data/1.txt", "three four")
    assert toy.ran() == ALL
    (toy.root / "data" / "2.txt").rename(toy.root / "data" / "3.txt")
    assert toy.ran() == {"load"}


def test_swapped_inputs_are_seen(toy: Toy) -> None:
    toy.run()
    one, two = toy.root / "data" / "1.txt", toy.root / "data" / "2.txt"
    one.rename(toy.root / "spare")
    two.rename(one)
    (toy.root / "spare").rename(two)
    assert "load" in toy.ran()


def test_same_size_edit_within_the_same_second_is_seen(toy: Toy) -> None:
    for word in ("aaa", "bbb", "ccc"):
        toy.write("data/1.txt", word)
        toy.write("stages/deep.py", f"FACTOR = {ord(word[0])}\n")
        toy.run()
        assert toy.report.splitlines()[1] == f"a: {ord(word[0]) * 1.0} after 8"


def test_moved_project_reruns_nothing(toy: Toy) -> None:
    toy.run()
    toy.root = toy.root.rename(toy.root.with_name("moved"))
    assert toy.ran() == set()


def test_reports_deleted_come_back_without_computation(toy: Toy) -> None:
    toy.run()
    shutil.rmtree(toy.root / "reports")
    assert toy.ran() == set()
    assert toy.report.startswith("Toy")
    assert (toy.root / "reports" / "toy-tensorflow" / "figures" / "one.svg").exists()


def test_removed_branch_keeps_the_others_and_comes_back_from_the_cache(toy: Toy) -> None:
    toy.run()
    toy.edit("pipeline.toml", ', { name = "b", rate = 2 }', "")
    assert toy.ran() == {"report"}
    toy.edit("pipeline.toml", "rate = 0.5 }", 'rate = 0.5 }, { name = "b", rate = 2 }')
    assert toy.ran() == set()


def test_damaged_artifact_is_made_again(toy: Toy) -> None:
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    found.chmod(0o644)
    found.write_text("one")
    assert toy.ran() == {"load"}


def test_byte_flipped_behind_an_old_time_stamp_is_found_before_a_stage_reads_it(toy: Toy) -> None:
    toy.run()
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/words.txt")
    info = found.stat()
    found.chmod(0o644)
    found.write_text("one twx")
    os.utime(found, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert toy.ran("--set", "stages.fit.params.epochs=9") == ALL
    assert "a: 10.0 after 9" in toy.report


def test_force_runs_a_stage_and_stops_where_its_output_is_the_same(toy: Toy) -> None:
    toy.run()
    assert toy.ran("--force", "fit[a]") == {"fit[a]"}


def test_until_runs_a_stage_and_what_it_needs(toy: Toy) -> None:
    assert toy.ran("--until", "fit") == {"load", "fit[a]", "fit[b]"}


def test_backend_is_no_part_of_keras_free_stages(toy: Toy) -> None:
    toy.run()
    toy.environment["KERAS_BACKEND"] = "jax"
    assert toy.ran() == set()
    assert (toy.root / "reports" / "toy-jax.html").exists()


def test_store_can_be_elsewhere_and_shared(toy: Toy, tmp_path) -> None:
    toy.environment["KPIPE_STORE"] = str(tmp_path / "a störe with spaces")
    toy.run()
    assert not (toy.root / ".kpipe").exists()
    other = Toy(tmp_path / "other")
    other.environment = toy.environment
    assert other.ran() == set()
