"""What the report tells of costs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from kpipe.stage import Stage
from stages import report
from stages.reporting import costs
from stages.reporting.results import read_results
from stages.reporting.wording import flops, milliseconds
from tests.stages.fake_artifacts import Run, branches

NOT_TOLD = "\N{EN DASH}"
KEPT = {"prefix_flops_per_second": None, "prefix_share_of_peak": None, "prefix_seconds": 0.02}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two branches, the second on activations that the first had stored, on two GPUs."""
    runs = [Run({"seed": 1}), Run({"seed": 2}, measures={**KEPT, "devices": 2, "device": "NVIDIA H100"})]
    folder = tmp_path_factory.mktemp("report")
    report.run(Stage(out=folder / "out", branches=branches(folder / "run", runs)))
    return folder / "out"


def rows(out: Path, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    _, _, rest = (out / "report.html").read_text().partition(heading)
    found = re.findall(r"<tr.*?</tr>", rest.partition("</table>")[0], re.DOTALL)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in found]
    return [[" ".join(re.sub(r"<.*?>", " ", cell).split()) for cell in row] for row in cells]


@pytest.mark.slow
def test_page_tells_where_the_time_went(out: Path) -> None:
    headings, first, second = rows(out, "Where the time went")
    assert headings == ["branch", *costs.SPENT]
    assert first[1:] == ["3.2 s", "12 s", "5.4 s", "4.6 s", "7.9 s", "1.3 s", "42 s", "6.5 s"]
    assert second[1:3] == ["3.2 s", "0.0 s"]


def test_page_tells_arithmetic_and_speeds(out: Path) -> None:
    _, first, second = rows(out, "<h3>Arithmetic")
    told = ["7.71 GFLOP", "6.90 GFLOP", "2.43 GFLOP", "23 608 202", "3.0 GiB", "160 KiB"]
    assert first[1:] == [*told, "312 GFLOP/s (0.78)", "160 GFLOP/s (0.40)", "400 GFLOP/s"]
    assert second[1:] == [*told, NOT_TOLD, "160 GFLOP/s (0.40)", "400 GFLOP/s"]


def test_page_tells_on_how_many_devices(out: Path) -> None:
    _, first, second = rows(out, 'aria-label="Costs of all branches"')
    assert (first[-1], second[-1]) == ("cpu (AVX-512)", "2 \N{MULTIPLICATION SIGN} NVIDIA H100")


def words(out: Path) -> str:
    """The text of the section."""
    _, _, section = (out / "report.html").read_text().partition('<section id="costs"')
    return " ".join(re.sub(r"<.*?>", " ", section.partition("</section>")[0]).split())


def made(folder: Path, *runs: Run) -> Path:
    report.run(Stage(out=folder / "out", branches=branches(folder / "run", runs)))
    return folder / "out"


@pytest.mark.slow
def test_page_tells_what_an_answer_costs_beside_accuracy(tmp_path: Path) -> None:
    out = made(tmp_path, Run({"seed": 1}, accuracy=0.96, latency=0.0124), Run({"seed": 2}, accuracy=0.9, latency=0.00048))
    headings, first, second = rows(out, 'id="costs-heading"')
    assert headings == [
        *("branch", "test accuracy", "latency, median", "latency, p95", "per image in a batch of 32", "FLOPs, forward"),
        *("parameters", "model file", "training", "images/s, training", "peak memory, training", "trained on"),
    ]
    same = ["7.71 GFLOP", "23 608 202", "95 MiB", "42 s", "230", "1.3 GiB", "cpu (AVX-512)"]
    assert first == ["1 1", "0.96", "12.4 ms", "18.6 ms", "3.10 ms", *same]
    assert second == ["2 2", "0.90", "0.480 ms", "0.720 ms", "0.120 ms", *same]
    assert "median and 95th percentile of 120 calls with one image" in words(out)
    assert "Measured on Example CPU, AVX-512;" in words(out)


@pytest.mark.slow
def test_page_names_the_branches_that_none_dominates(tmp_path: Path) -> None:
    fast, good, bad = (
        Run({"seed": seed}, accuracy=accuracy, latency=seconds, seconds=1000 * seconds)
        for seed, accuracy, seconds in (("fast", 0.9, 0.01), ("good", 0.96, 0.02), ("bad", 0.93, 0.03))
    )
    out = made(tmp_path, bad, good, fast)
    assert words(out).count("Not dominated: 3 fast 2 good A branch") == 1
    assert words(out).count("Not dominated: 3 fast 2 good") == 2
    alt = "Test accuracy against latency of one image of every branch, by number. Not dominated: 3, 2."
    assert alt in (out / "report.html").read_text()


@pytest.mark.slow
def test_page_says_why_an_old_evaluation_has_no_latency(tmp_path: Path) -> None:
    out = made(tmp_path, *(Run({"seed": seed}, latency=latency) for seed, latency in ((1, 0.01), (2, None), (3, 0.02))))
    old = rows(out, 'id="costs-heading"')[2]
    assert old[2:5] == [NOT_TOLD] * 3 and old[7] == NOT_TOLD
    assert "No latency and no file size of branch 2: the evaluation did not measure them" in words(out)
    assert "Test accuracy against latency of one image; not measured: branch 2." in words(out)
    with (out / "report.csv").open(newline="") as file:
        assert [row["latency_batch_1_seconds"] for row in csv.DictReader(file)] == ["0.01", "", "0.02"]


@pytest.mark.slow
def test_page_without_any_latency_is_whole(tmp_path: Path) -> None:
    out = made(tmp_path, *(Run({"seed": seed}, latency=None) for seed in (1, 2)))
    assert "No latency and no file size of all branches" in words(out)
    assert "Latency is the time" not in words(out)
    assert not (out / "figures" / "costs-latency.svg").exists() and (out / "figures" / "costs-training.svg").exists()


@pytest.mark.slow
def test_page_tells_that_latencies_are_of_different_devices_or_of_too_few_calls(tmp_path: Path) -> None:
    gathered = branches(tmp_path / "run", [Run({"seed": 1}), Run({"seed": 2})])
    gathered[1].records["evaluate"]["measures"] |= {
        "device": "NVIDIA H100", "latency_batch_1_p95_seconds": None, "latency_batch_1_calls": 7,
    }  # fmt: skip
    report.run(Stage(out=tmp_path / "out", branches=gathered))
    told = words(tmp_path / "out")
    assert rows(tmp_path / "out", 'id="costs-heading"')[2][3] == NOT_TOLD
    assert "of 7 to 120 calls with one image (fewer than 20 do not tell a 95th percentile)" in told
    assert "Measured on different devices (Example CPU, AVX-512; NVIDIA H100), so compare only" in told


def test_page_tells_the_layers_of_a_step(out: Path) -> None:
    assert rows(out, "Layers of a training step")[1:] == [["probabilities", "6.00 kFLOP", "6.00 kFLOP", NOT_TOLD]]


def test_table_has_every_measured_cost(out: Path) -> None:
    with (out / "report.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert {name: first[name] for name in ("decode_seconds", "prefix_seconds", "step_flops", "prefix_share_of_peak")} == {
        "decode_seconds": "3.21", "prefix_seconds": "12.3", "step_flops": "2430000000.0", "prefix_share_of_peak": "0.78",
    }  # fmt: skip
    assert (second["prefix_share_of_peak"], second["devices"]) == ("", "2")
    assert {name: first[name] for name in first if name.startswith("latency_") or name == "model_bytes"} == {
        "latency_batch_1_seconds": "0.0123", "latency_batch_1_p95_seconds": "0.01845", "latency_batch_1_calls": "120",
        "latency_batch_32_seconds": "0.0984", "latency_batch_32_p95_seconds": "", "latency_batch_32_calls": "15",
        "model_bytes": "99614720",
    }  # fmt: skip


def test_layers_are_told_of_every_phase(tmp_path: Path) -> None:
    [branch] = branches(tmp_path, [Run({})])
    [[result], _] = read_results([branch])
    result.costs.extend(result.costs)
    assert [(layer["phase"], layer["name"]) for layer in costs.layers(result)] == [(1, "probabilities"), (2, "probabilities")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOT_TOLD), (0, "0.00 FLOP"), (48, "48.0 FLOP"), (999.6, "1.00 kFLOP"), (48e3, "48.0 kFLOP"), (7.711e9, "7.71 GFLOP"),
     (9.996e9, "10.0 GFLOP"), (3.96e14, "396 TFLOP"), (2e18, "2000 PFLOP")],
)  # fmt: skip
def test_operations_have_three_digits(value: float | None, text: str) -> None:
    assert flops(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOT_TOLD), (0.0000123, "0.012 ms"), (0.00099951, "1.00 ms"), (0.0012345, "1.23 ms"), (0.0099951, "10.0 ms"),
     (0.0123, "12.3 ms"), (0.09996, "100 ms"), (1.23, "1\N{NARROW NO-BREAK SPACE}230 ms")],
)  # fmt: skip
def test_milliseconds_have_three_digits(value: float | None, text: str) -> None:
    assert milliseconds(value) == text
