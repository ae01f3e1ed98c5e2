"""The same toy stages declared for the other tools: equal needs, parameters and outputs, and every data file counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.projects import Toy

STEP = '''"""python step.py STAGE: one stage outside kpipe."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

from kpipe.stage import Stage

name = sys.argv[1]
params = tomllib.loads(Path("pipeline.toml").read_text())["stages"][name].get("params", {})
params |= {key: Path(value) for key, value in params.items() if key == "source"}
import_module(f"stages.{name}").run(Stage(out=Path("out", name)), **params)
'''

PYTASK_HEAD = """import subprocess
from pathlib import Path

DATA = sorted(p for p in Path("data").rglob("*") if p.is_file())
"""


def write_declarations(folder: Path, toys: Sequence[Toy]) -> None:
    """dvc.yaml with params.yaml, a Snakefile, and pytask's task file."""
    (folder / "step.py").write_text(STEP)
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(map(dvc_stage, toys)))
    (folder / "params.yaml").write_text("".join(map(dvc_params, toys)))
    last = toys[-1].name
    rules = [f'rule all:\n    input: "{page(last)}"\n', *map(snakemake_rule, toys)]
    (folder / "Snakefile").write_text("from glob import glob\n\n" + "\n".join(rules))
    (folder / "task_stages.py").write_text(PYTASK_HEAD + "".join(map(pytask_task, toys)))


def page(name: str) -> str:
    """What a stage writes."""
    return f"out/{name}/{name}.html"


def scalars(toy: Toy) -> dict[str, int | float | str]:
    """A stage's parameters but for its folder, which is an input."""
    return {name: value for name, value in toy.params.items() if name != "source"}


def step(toy: Toy) -> str:
    """The command line that runs a stage."""
    return f"{sys.executable} step.py {toy.name}"


def dvc_stage(toy: Toy) -> str:
    """Its part of dvc.yaml. The folder is a dependency: DVC then looks at it sooner than at one added with `dvc add`."""
    deps = [f"stages/{toy.name}.py", *(f"out/{need}" for need in toy.needs), *(["data"] if "source" in toy.params else [])]
    lines = [f"  {toy.name}:", f"    cmd: {step(toy)}", "    deps:", *(f"    - {dep}" for dep in deps)]
    lines += ["    params:"] if scalars(toy) else []
    lines += [f"    - {toy.name}.{name}" for name in scalars(toy)]
    return "\n".join([*lines, "    outs:", f"    - out/{toy.name}"]) + "\n"


def dvc_params(toy: Toy) -> str:
    """Its part of params.yaml."""
    lines = [f"  {name}: {value}" for name, value in scalars(toy).items()]
    return "\n".join([f"{toy.name}:", *lines]) + "\n" if lines else ""


def snakemake_rule(toy: Toy) -> str:
    """Its part of the Snakefile. A folder as input would count with its own time stamp alone, so the files are listed."""
    inputs = [json.dumps(name) for name in (f"stages/{toy.name}.py", *map(page, toy.needs))]
    inputs += ['data=sorted(glob("data/**/*.bin", recursive=True))'] if "source" in toy.params else []
    lines = [f"rule {toy.name}:", f"    input: {', '.join(inputs)}", f"    output: {json.dumps(page(toy.name))}"]
    lines += [f"    params: {', '.join(f'{k}={v!r}' for k, v in scalars(toy).items())}"] if scalars(toy) else []
    return "\n".join([*lines, f"    shell: {json.dumps(step(toy))}"]) + "\n"


def pytask_task(toy: Toy) -> str:
    """Its part of pytask's file."""
    arguments = [f"script=Path('stages/{toy.name}.py')", *(f"{need}=Path({page(need)!r})" for need in toy.needs)]
    arguments += ["data=DATA"] if "source" in toy.params else []
    arguments += [f"{name}={value!r}" for name, value in scalars(toy).items()]
    return (
        f"\n\ndef task_{toy.name}({', '.join(arguments)}, produces=Path({page(toy.name)!r})):\n"
        f"    subprocess.run({step(toy).split(' ')!r}, check=True)\n"
    )
