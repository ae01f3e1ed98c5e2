"""Projects that the measurements generate: toy stages without Keras, and folders of small files."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FILE_BYTES = 4096


@dataclass(frozen=True)
class Toy:
    """A stage that writes one small page. The parameter `source` is a folder."""

    name: str
    needs: tuple[str, ...] = ()
    params: Mapping[str, int | float | str] = field(default_factory=dict)
    gather: bool = False

    def module(self) -> str:
        """Its Python text."""
        parameters = ", ".join(
            f"{name}: {'Folder' if name == 'source' else type(value).__name__}" for name, value in self.params.items()
        )
        values = "".join(f" {{{name}}}" for name in self.params if name != "source")
        return (
            "from kpipe.stage import Folder, Stage\n\n\n"
            f"def run(stage: Stage{', *, ' * bool(parameters)}{parameters}) -> None:\n"
            f'    (stage.out / "{self.name}.html").write_text(f"{self.name}{values}")\n'
        )

    def table(self) -> str:
        """Its part of the pipeline file."""
        lines = [f"[stages.{self.name}]", f'run = "stages.{self.name}"']
        lines += [f"needs = {list(self.needs)}"] if self.needs else []
        lines += ["gather = true"] if self.gather else []
        lines += [f"[stages.{self.name}.params]"] if self.params else []
        lines += [f"{name} = {value!r}" for name, value in self.params.items()]
        return "\n".join(lines) + "\n"


SIX_STAGES = (
    Toy("ingest", (), {"source": "data", "image_size": 32, "seed": 7}),
    Toy("preprocess", ("ingest",), {"model": "resnet50", "scaling": "model"}),
    Toy("build", ("preprocess",), {"weights": "random"}),
    Toy("train", ("ingest", "preprocess", "build"), {"epochs": 8, "batch_size": 32, "learning_rate": 0.001}),
    Toy("evaluate", ("ingest", "preprocess", "build", "train")),
    Toy("report", ("ingest", "preprocess", "build", "train", "evaluate"), gather=True),
)


def write_project(folder: Path, toys: Sequence[Toy], matrix: str = "") -> None:
    """A pipeline file and its stages."""
    (folder / "stages").mkdir(parents=True)
    for toy in toys:
        (folder / "stages" / f"{toy.name}.py").write_text(toy.module())
    (folder / "pipeline.toml").write_text("\n".join(['[pipeline]\nname = "benchmark"\n', matrix, *(toy.table() for toy in toys)]))


def write_files(folder: Path, count: int, in_each: int) -> None:
    """Small files of random bytes (always the same), so many in each sub-folder; all in one where that is not less."""
    bytes_ = random.Random(0)
    for start in range(0, count, in_each):
        inside = folder / f"{start // in_each:05}" if in_each < count else folder
        inside.mkdir(parents=True)
        for number in range(start, min(start + in_each, count)):
            (inside / f"{number:07}.bin").write_bytes(bytes_.randbytes(FILE_BYTES))


def change_first(folder: Path, number: int) -> None:
    """Change the content of the first file, and not its size."""
    name = "0000000.bin"
    path = folder / name
    with (path if path.exists() else folder / "00000" / name).open("r+b") as file:
        file.write(f"changed {number:8}".encode())
