"""What the cache gives back, what it does not believe, and what it is told to do again."""

from __future__ import annotations

import os
import shutil

from tests.engine.conftest import ALL, Toy


def test_second_run_is_all_cached_and_prints_the_report_last(toy: Toy) -> None:
    assert toy.ran() == ALL
    result = toy.kpipe("run")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "reports/toy-tensorflow.html"
    assert result.err.count("cached") == 4
    assert toy.report == "Toy\na: 10.0 after 8\nb: 40.0 after 8"


def test_reports_deleted_come_back_without_computation(toy: Toy) -> None:
    toy.run()
    shutil.rmtree(toy.root / "reports")
    assert toy.ran() == set()
    assert toy.report.startswith("Toy")
    assert (toy.root / "reports" / "toy-tensorflow" / "figures" / "one.svg").exists()


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


def test_byte_flipped_behind_an_old_time_stamp_is_found_before_a_report_is_exported(toy: Toy) -> None:
    toy.run()
    before = toy.report
    (found,) = (toy.root / ".kpipe" / "objects").glob("*/report.html")
    info = found.stat()
    found.chmod(0o644)
    found.write_text(before.swapcase())
    os.utime(found, ns=(info.st_atime_ns, info.st_mtime_ns))
    for export in (toy.root / "reports").glob("*.html"):
        export.unlink()
    assert toy.ran() == {"report"}
    assert toy.report == before


def test_force_runs_a_stage_and_stops_where_its_output_is_the_same(toy: Toy) -> None:
    toy.run()
    assert toy.ran("--force", "fit[a]") == {"fit[a]"}


def test_until_runs_a_stage_and_what_it_needs(toy: Toy) -> None:
    assert toy.ran("--until", "fit") == {"load", "fit[a]", "fit[b]"}
