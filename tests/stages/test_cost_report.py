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
from stages.reporting.wording import flops
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


def test_page_tells_where_the_time_went(out: Path) -> None:
    headings, first, second = rows(out, "Where the time went")
    assert headings == ["branch", *costs.SPENT]
    assert first[1:] == ["3.2 s", "12 s", "4.6 s", "7.9 s", "1.3 s", "42 s", "6.5 s"]
    assert second[1:3] == ["3.2 s", "0.0 s"]


def test_page_tells_arithmetic_and_speeds(out: Path) -> None:
    _, first, second = rows(out, "<h3>Arithmetic")
    told = ["7.71 GFLOP", "6.90 GFLOP", "2.43 GFLOP", "3.0 GiB", "160 KiB"]
    assert first[1:] == [*told, "312 GFLOP/s (0.78)", "160 GFLOP/s (0.40)", "400 GFLOP/s"]
    assert second[1:] == [*told, NOT_TOLD, "160 GFLOP/s (0.40)", "400 GFLOP/s"]


def test_page_tells_on_how_many_devices(out: Path) -> None:
    _, first, second = rows(out, 'aria-label="Costs of all branches"')
    assert (first[-1], second[-1]) == ("cpu (AVX-512)", "2 \N{MULTIPLICATION SIGN} NVIDIA H100")


def test_page_tells_the_layers_of_a_step(out: Path) -> None:
    assert rows(out, "Layers of a training step")[1:] == [["probabilities", "6.00 kFLOP", "6.00 kFLOP", NOT_TOLD]]


def test_table_has_every_measured_cost(out: Path) -> None:
    with (out / "report.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert {name: first[name] for name in ("decode_seconds", "prefix_seconds", "step_flops", "prefix_share_of_peak")} == {
        "decode_seconds": "3.21", "prefix_seconds": "12.3", "step_flops": "2430000000.0", "prefix_share_of_peak": "0.78",
    }  # fmt: skip
    assert (second["prefix_share_of_peak"], second["devices"]) == ("", "2")


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
