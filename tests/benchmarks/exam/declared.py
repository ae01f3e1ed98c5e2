"""The declared half: a pipeline file with one branch a case, run by kpipe; then another one with the fixes that it named."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stages.augment import RECIPES
from tests.benchmarks.exam.cases import HEALTHY, USUAL, Case
from tests.benchmarks.exam.pictures import SIZE
from tests.benchmarks.timing import kpipe
from tests.projects import copy_stages

STAGES = {
    "preprocess": ("scaling", "augment", "zoom", "brightness", "rotation", "augment_validation", "model"),
    "build": ("weights", "weights_scaling", "model"),
    "train": (
        "unfreeze", "epochs", "batch_size", "learning_rate", "layer_decay", "optimizer", "momentum", "class_weights",
        "label_smoothing", "pooling", "units", "dropout", "batchnorm", "early_stopping", "activations", "views", "seed",
    ),
}  # fmt: skip
NEEDS = {
    "preprocess": ["ingest"], "build": ["preprocess"], "check": ["ingest", "build"], "train": ["ingest", "preprocess", "build"],
    "evaluate": ["ingest", "preprocess", "build", "check", "train"],
}  # fmt: skip
RUN = {"evaluate": "judge"}  # stage -> its module, where that is another
OWN = ("zoom", "brightness", "rotation")  # settings that replace a recipe's


def run(
    cases: Sequence[Case], fixes: Mapping[str, str], *, work: Path, photographs: Path, weights: Path, processes: int
) -> dict[str, Any]:
    """Case name -> its findings, accuracy and what a failed stage said; `fixes` are lines of a pipeline file, by a case's key.

    A run of kpipe has two processes; several runs share a store.
    """
    parts: list[dict[str, Case]] = []
    for backend in ("tensorflow", "jax"):
        chosen = [case for case in cases if case.backend == backend]
        number = min(max(processes // 2, 1), len(chosen))
        parts += [{case.name: case for case in chosen[i::number]} for i in range(number)]
    for case in cases:
        case.source.write(work / "pictures", photographs)
    made = [project(work / "projects" / str(i), part, fixes, work, weights) for i, part in enumerate(parts)]
    with ThreadPoolExecutor(max(processes // 2, 1)) as pool:
        found = list(pool.map(lambda part: of_kpipe(*part, work / "store"), zip(made, parts, strict=True)))
    return {part[name].key: value for part, told in zip(parts, found, strict=True) for name, value in told.items()}


def project(place: Path, cases: Mapping[str, Case], fixes: Mapping[str, str], work: Path, weights: Path) -> Path:
    """A folder with the stages and a pipeline file, in which every case is a branch."""
    shutil.rmtree(place / "stages", ignore_errors=True)
    copy_stages(place)
    shutil.copy(Path(__file__).parent / "judge.py", place / "stages")
    rows = [row(case, fixes.get(case.key), work, weights) for case in cases.values()]
    (place / "pipeline.toml").write_text(pipeline(rows))
    return place


def of_kpipe(project: Path, cases: Mapping[str, Case], store: Path) -> dict[str, Any]:
    """What one run says of its branches, two stages at a time."""
    backend = next(iter(cases.values())).backend
    command = kpipe(project, "run", "--json", "--keep-going", "--jobs", "2", KERAS_BACKEND=backend, KPIPE_STORE=str(store))
    done = subprocess.run(command.arguments, cwd=project, env=command.environment, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(done.stderr[-4000:])
    instances = json.loads(done.stdout)["instances"]
    return {name: read(name, instances, store / "objects") for name in cases}


def row(case: Case, fix: str | None, work: Path, weights: Path) -> dict[str, Any]:
    """The table of a case on the axis."""
    usual = {"epochs": USUAL[case.model]["epochs"], "learning_rate": USUAL[case.model]["rate"]}
    settings = {**HEALTHY, **usual, **case.settings, **(patched(fix) if fix else {})}
    if settings["weights"] in ("pretrained", "imagenet"):  # nothing is downloaded
        settings["weights"] = str(next(weights.glob(f"{case.model}*notop*.h5")))
    recipe = RECIPES[settings["augment"]]
    settings |= {name: getattr(recipe, name) for name in OWN if name not in case.settings}
    return {
        "name": case.name,
        "source": str(work / "pictures" / case.source.name),
        "model": case.model,
        "seed": case.source.seed,
        **settings,
    }


def patched(fix: str) -> dict[str, Any]:
    """The settings in a line of a pipeline file: stages.train.params.epochs = 3."""
    found: dict[str, Any] = {}
    for stage in tomllib.loads(fix)["stages"].values():
        found |= stage["params"]
    return found


def pipeline(rows: list[dict[str, Any]]) -> str:
    """pipeline.toml."""
    cases = ",\n  ".join("{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.items()) + " }" for row in rows)
    text = f'[pipeline]\nname = "exam"\n\n[matrix]\ncase = [\n  {cases},\n]\n'
    text += (
        f'\n[stages.ingest]\nrun = "stages.ingest"\n[stages.ingest.params]\nsource = "${{case.source}}"\nimage_size = {SIZE}\n'
    )
    for stage, needs in NEEDS.items():
        text += f'\n[stages.{stage}]\nrun = "stages.{RUN.get(stage, stage)}"\nneeds = {json.dumps(needs)}\n'
        if names := STAGES.get(stage):
            text += f"[stages.{stage}.params]\n" + "".join(f'{name} = "${{case.{name}}}"\n' for name in names)
    return text


def read(name: str, instances: Iterable[Mapping[str, Any]], objects: Path) -> dict[str, Any]:
    """What the branch's stages found, and how good it is; what a stage said that failed."""
    stages = {found["stage"]: found for found in instances if found["axes"].get("case") == name}
    told: dict[str, Any] = {"findings": [], "accuracy": None, "failed": None}
    for stage, file in (("preprocess", "checks.json"), ("evaluate", "findings.json")):
        if output := stages[stage]["output"]:
            told["findings"] += json.loads((objects / output / file).read_text())
    if output := stages["evaluate"]["output"]:
        told["accuracy"] = json.loads((objects / output / "metrics.json").read_text())["test"]["accuracy"]
    told["failed"] = next((found["error"] for found in stages.values() if found["error"]), None)
    return told
