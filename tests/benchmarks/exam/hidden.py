"""The hidden half: `kpipe doctor`'s own stage on networks that a Keras script made, in a process of one backend.

KERAS_BACKEND=jax python -m tests.benchmarks.exam.hidden WORK PHOTOGRAPHS WEIGHTS NAME...
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras

from kpipe.stage import Stage
from stages.diagnosis.foreign_scale import AS
from stages.tools import doctor
from tests.benchmarks.exam.cases import Case, cases
from tests.benchmarks.exam.networks import Network
from tests.benchmarks.exam.results import results

MENDED: Mapping[str, Mapping[str, Any]] = {  # what doctor says -> what a person then does
    **{text: {"pixels": kind} for kind, text in AS.items()},
    doctor.FIXES["batchnorm-gap"]: {"stale": None},
    doctor.FIXES["imbalance"]: {"weigh": True},
    doctor.FIXES["overfitting"]: {"stop": True},
    doctor.FIXES["saturated-outputs"]: {"logits": True},
}


def main(work: Path, photographs: Path, weights: Path, names: list[str]) -> None:
    """Write a JSON file for every case that has none: what doctor found, the accuracies of the network, and of the mended one."""
    for case in cases(keras.backend.backend()):
        result = results(work) / f"{case.key}.json"
        if case.key in names and not result.exists():
            told = examine(case, work, photographs, weights)
            result.parent.mkdir(parents=True, exist_ok=True)
            draft = result.with_suffix(".draft")
            draft.write_text(json.dumps(told))
            draft.replace(result)
            print(result.name, flush=True)


def examine(case: Case, work: Path, photographs: Path, weights: Path) -> dict[str, Any]:
    """One case, the same without its fault, and with the fix that doctor names for it."""

    def made(of: Case) -> Network:
        return trained(of.model, weights, of.source.write(work / "pictures", photographs), tuple(sorted(of.settings.items())))

    network = made(case)
    found, accuracy = seen_by_doctor(network)
    told = {"findings": found, "accuracy": accuracy}
    if case.fault:
        told["healthy"] = made(case.healthy()).accuracy()
        fix = next((finding["fix"] for finding in found if finding["rule"] in case.rules and finding["fix"] in MENDED), None)
        if fix:
            settings = {key: value for key, value in (case.settings | MENDED[fix]).items() if value is not None}
            told["mended"] = made(replace(case, settings=settings)).accuracy()
    return told


@cache
def trained(model: str, weights: Path, folder: Path, settings: tuple[tuple[str, Any], ...]) -> Network:
    """The network with these settings; many cases share the one without a fault."""
    network = Network(model, str(next(weights.glob(f"{model}*notop*.h5"))), folder, dict(settings))
    network.train()
    return network


def seen_by_doctor(network: Network) -> tuple[list[dict[str, Any]], float]:
    """What doctor finds on the files of a network, and its accuracy."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        accuracy = network.save(place / "model.keras")
        network.write_history(place / "history.csv")
        data = shutil.copytree(network.folder, place / "data", ignore=shutil.ignore_patterns("test"))
        history = str(place / "history.csv") if network.settings.get("history", True) else ""
        stage = Stage(out=place / "out", store=place / "store")
        doctor.run(stage, model=str(place / "model.keras"), data=str(data), history=history)
        return json.loads((stage.out / "findings.json").read_text()), accuracy


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4:])  # type: ignore[arg-type]
