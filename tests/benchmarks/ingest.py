"""The stage ingest against keras.utils.image_dataset_from_directory: the first pass over the same files, at the same size.

    python -m tests.benchmarks.ingest                    a data set in train/, validation/ and test/
    python -m tests.benchmarks.ingest --made 20000 --side 300    pictures that are made for it
    python -m tests.benchmarks.ingest --memory           peak memory of 100,000 pictures at 64 x 64

Both sides are whole processes, started in turn, all files read once before. A peer reads train/ alone, batch by batch, and keeps
nothing; kpipe reads, hashes, splits, audits and stores the same files. Later passes and a hundredth of new files are kpipe alone:
the peers decode everything again. The format "grain" needs the package grain. TMPDIR names the disk of kpipe's store.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.engine import machine
from tests.benchmarks.table import Row, render
from tests.benchmarks.timing import Command, Sample, Side, environment, interleaved, kpipe, timed
from tests.benchmarks.training import pictures
from tests.benchmarks.training.memory import make
from tests.benchmarks.training.peers import ROOT
from tests.projects import copy_stages

SHARED = ROOT.parent / "shared" / "data" / "dogs_vs_cats_small"
FORMATS = {"tf": "tensorflow", "grain": "jax"}  # and the backend that is imported for it
PEER = """
import sys, keras
data = keras.utils.image_dataset_from_directory(sys.argv[1], image_size=(int(sys.argv[2]),) * 2, batch_size=32, format=sys.argv[3])
print("pictures:", sum(len(labels) for _, labels in data))
"""
PIPELINE = """
[pipeline]
name = "ingest"
[stages.ingest]
run = "stages.ingest"
[stages.ingest.params]
source     = {source}
image_size = {size}
"""
MEMORY = 100_000


class Project:
    """A pipeline of the one stage."""

    def __init__(self, folder: Path, source: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir()
        copy_stages(folder)
        (folder / "pipeline.toml").write_text(PIPELINE.format(source=json.dumps(str(source)), size=size))

    def side(self, text: str, anew: bool = False) -> Side:
        """A run that says so; from nothing, or with what is stored."""
        before = (lambda: shutil.rmtree(self.folder / ".kpipe", ignore_errors=True)) if anew else (lambda: None)
        return Side(kpipe(self.folder, "run"), text, before=before)


def peer(data: Path, size: int, kind: str, count: int) -> Side:
    """One pass over the training folder."""
    quiet = {"KERAS_BACKEND": FORMATS[kind], "TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = (sys.executable, "-c", PEER, str(data), str(size), kind)
    return Side(Command(arguments, data.parent, environment(**quiet)), f"pictures: {count}")


def compared(data: Path, size: int, repetitions: int, work: Path) -> Iterator[Row]:
    """The first pass against each format, then what kpipe does later."""
    source = data / "train"
    count = sum(1 for path in source.glob("*/*"))
    shown = f"{count:,} at {size} x {size}"
    for kind in FORMATS:
        if kind == "grain" and not find_spec("grain"):
            print("skipped: the format grain, because the package grain is not installed", file=sys.stderr)
            continue
        project = Project(work / f"project-{kind}", source, size)
        sides = {"kpipe": project.side("done in", anew=True), kind: peer(source, size, kind, count)}
        found = interleaved(sides, repetitions, warm=False)
        yield Row("first pass", shown, found["kpipe"], "< 1", f"Keras, {kind}", found[kind])
    again = interleaved({"unchanged": project.side("cached")}, repetitions)
    yield Row("later pass", shown, again["unchanged"])
    yield Row(
        "one hundredth of new files",
        shown,
        [with_new_files(project, source, data.parent / f"more{i}") for i in range(repetitions)],
    )


def with_new_files(project: Project, source: Path, place: Path) -> Sample:
    """A run after a hundredth of the pictures was added, in a copy of the folder that is linked to the same files."""
    shutil.copytree(source, place, copy_function=lambda old, new: Path(new).hardlink_to(old))
    files = sorted(source.glob("*/*"))
    for number, path in enumerate(files[::100]):
        (place / path.parent.name / f"new-{number}{path.suffix}").write_bytes(path.read_bytes() + b"\0")
    pipeline = project.folder / "pipeline.toml"
    before = pipeline.read_text()
    pipeline.write_text(before.replace(json.dumps(str(source)), json.dumps(str(place))))
    sample = project.side("done in").sample()
    pipeline.write_text(before)
    return sample


def memory(count: int, work: Path) -> Iterator[Row]:
    """The peak of the largest process, above that of a run with a hundredth of the pictures."""
    for number in (count // 100, count):
        data = make(work / f"made-{number}", {"train": number}, 64)
        sample, _ = timed(Project(work / f"project-{number}", data / "train", 64).side("done in", anew=True).command)
        yield Row("memory", f"{number:,} at 64 x 64", [sample], "+ 500 MB")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ingest", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, metavar="FOLDER")
    parser.add_argument("--size", type=int, default=150, help="height and width of what is made of the pictures")
    parser.add_argument("--made", type=int, metavar="N", help="make so many pictures instead")
    parser.add_argument("--side", type=int, default=400, help="their height and width")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory alone")
    parser.add_argument("--memory-images", type=int, default=MEMORY, metavar="N")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    asked = arguments(argv)
    described = machine()
    with tempfile.TemporaryDirectory(prefix="kpipe-ingest-") as name:
        work = Path(name)
        if asked.memory:
            rows = list(memory(asked.memory_images, work))
        else:
            data = (
                make(work / "data", {"train": asked.made}, asked.side)
                if asked.made
                else shutil.copytree(asked.data, work / "data")
            )
            pictures.touch(data)
            rows = list(compared(data, asked.size, asked.repetitions, work))
    print("$ " + shlex.join(["python", "-m", "tests.benchmarks.ingest", *argv]))
    print("\n".join([*described, "", render(rows)]))


if __name__ == "__main__":
    main(sys.argv[1:])
