"""Training with kpipe against Keras scripts, on cats and dogs: time, accuracy, and the share of what the arithmetic allows.

    python -m tests.benchmarks.training --short      a Keras script runs two epochs, the others are extrapolated: hours on two cores
    python -m tests.benchmarks.training              everything is run, a day on two cores
    --models resnet50 --backends tensorflow --peers b --short      half an hour

Needs a data set in train/, validation/ and test/ and weights files without their top. TMPDIR names the disk of kpipe's store:
4 GB must be free there. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

from kpipe.identity import version
from tests.benchmarks.engine import machine
from tests.benchmarks.training import memory, pictures, table
from tests.benchmarks.training.comparison import compare
from tests.benchmarks.training.peers import PEERS, ROOT, SHORT
from tests.benchmarks.training.recipes import RECIPES, TITLES, Task, weights_of

BACKENDS = ("tensorflow", "jax")
SHARED = ROOT.parent / "shared"
PEER_HELP = "; ".join(f"{letter}: {title}" for letter, (_, title) in PEERS.items())


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"the scripts run {SHORT} epochs; the others are extrapolated")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "dogs_vs_cats_small", metavar="FOLDER")
    parser.add_argument("--weights", default=str(SHARED / "weights"), metavar="FOLDER", help='or "imagenet", or "random"')
    parser.add_argument("--models", type=names(TITLES), default=list(TITLES), metavar="A,B", help=", ".join(TITLES))
    parser.add_argument("--backends", type=names(BACKENDS), default=list(BACKENDS), metavar="A,B", help=", ".join(BACKENDS))
    parser.add_argument("--recipe", type=names(RECIPES), default=list(RECIPES), metavar="A,B", help=", ".join(RECIPES))
    parser.add_argument("--peers", type=names(PEERS), default=["a", "b", "c"], metavar="A,B", help=PEER_HELP)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--size", type=int, default=150, help="height and width of the pictures")
    parser.add_argument("--batchnorm", choices=("train", "auto"), default="train", help="kpipe's: as plain Keras, or its default")
    parser.add_argument("--images", type=int, help="training pictures of a smaller data set, half as many of the other splits")
    parser.add_argument("--memory", action="store_true", help="kpipe's peak memory alone, on pictures that are made for it")
    parser.add_argument("--memory-images", type=int, default=memory.IMAGES, metavar="N")
    return parser.parse_args(argv)


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type of argument: some of these names, with commas between them."""

    def parse(text: str) -> list[str]:
        found = text.split(",")
        if wrong := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: choose from {', '.join(known)}")
        return found

    return parse


def tasks(asked: argparse.Namespace, data: Path) -> Iterator[Task]:
    """What was asked for, less what has no weights."""
    for recipe, model, backend in product(asked.recipe, asked.models, asked.backends):
        weights = weights_of(model, asked.weights)
        task = Task(
            model=model,
            backend=backend,
            recipe=RECIPES[recipe],
            data=data,
            weights=weights or "",
            size=asked.size,
            batch_size=asked.batch_size,
            epochs=asked.epochs,
            batchnorm=asked.batchnorm,
        )
        if weights:
            yield task
        else:
            print(f"skipped: {task.title}: no {model}*notop*.h5 in {asked.weights}\n", flush=True)


def prepared(asked: argparse.Namespace, work: Path) -> Path:
    """The data set that is trained on, all of it read once; SystemExit where there is none."""
    if not all(pictures.count(asked.data).values()):
        sys.exit(f"no pictures in {asked.data}/train/CLASS, validation/CLASS and test/CLASS: give --data FOLDER")
    data: Path = pictures.smaller(asked.data, work / "smaller", asked.images) if asked.images else asked.data.absolute()
    pictures.touch(data)
    return data


def main(argv: Sequence[str]) -> None:
    """Measure and print, each table as soon as it is there."""
    asked = arguments(argv)
    described = machine()  # before this command itself is a load
    print("$ " + shlex.join(["python", "-m", "tests.benchmarks.training", *argv]))
    versions = ", ".join(f"{name} {found}" for name in ("keras", *BACKENDS) if (found := version(name)))
    print("\n".join([*described, versions]), flush=True)
    with tempfile.TemporaryDirectory(prefix="kpipe-training-") as name:
        work = Path(name)
        if asked.memory:
            print("\n" + memory.measure(list(tasks(asked, work)), asked.memory_images, work))
            return
        data = prepared(asked, work)
        print(f"pictures: {', '.join(f'{count:,} {split}' for split, count in pictures.count(data).items())}\n", flush=True)
        failed = False
        for task in tasks(asked, data):
            try:
                print(compare(task, asked.peers, asked.short, work), flush=True)
            except RuntimeError as e:  # hours of other figures should not be lost with it
                failed = True
                print(f"{task.title}: failed\n\n{e}\n", flush=True)
    print(table.LEGEND + (table.SHORT.format(SHORT) if asked.short else ""))
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
