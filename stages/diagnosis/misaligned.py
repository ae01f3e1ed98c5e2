"""Rule: the network tells the classes apart, but under other names than the labels have."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from stages.diagnosis.finding import Effect, Finding
from stages.diagnosis.seen import Seen, Split

BY_CHANCE = 1e-3  # probability that guesses agree so well with any of the namings
GAIN = 0.2  # accuracy that the best naming adds
GOOD = 0.6  # accuracy under the best naming: what is right by chance cannot be named rightly either


def find(seen: Seen) -> Finding | None:
    """The finding, or None where the names that are given are the best ones, or nothing is told apart."""
    for where, split in (("training", seen.train), ("validation", seen.validation)):
        best, naming = best_naming(split, len(seen.classes))
        if best < GOOD or best - split.accuracy < GAIN or guessed(split, best, naming) > BY_CHANCE:
            continue
        if not (sure(split) or learned(seen)) or no_better(seen, (split.accuracy + best) / 2):
            continue
        pairs = {seen.classes[i]: seen.classes[j] for i, j in enumerate(naming) if i != j}
        return Finding(
            rule="labels-misaligned",
            severity="error",
            title=f"The {where} labels name the classes in another order than the network does",
            cause=f"Renaming the network's classes makes {100 * best:.1f} % of the {where} images right "
            f"instead of {100 * split.accuracy:.1f} %: labels and outputs are in different orders.",
            evidence={
                "accuracy": split.accuracy,
                "accuracy_renamed": best,
                **{f"called {given}": f"is {meant}" for given, meant in pairs.items()},
            },
            effect=Effect(split.accuracy, best, f"{where} accuracy, with the network's classes renamed"),
        )
    return None


def best_naming(split: Split, classes: int) -> tuple[float, list[int]]:
    """The accuracy under the best one-to-one renaming of the predicted classes, and the new name of each.

    The assignment problem on the confusion matrix (Kuhn 1955), as scipy solves it.
    """
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (split.predicted, split.labels), 1)
    predicted, named = linear_sum_assignment(confusion, maximize=True)
    return float(confusion[predicted, named].sum() / len(split.labels)), [int(name) for name in named]


def guessed(split: Split, best: float, naming: list[int]) -> float:
    """The probability that predictions which have nothing to do with the labels agree as well, under any of the namings."""
    count = len(split.labels)
    called, labelled = (np.bincount(values, minlength=len(naming)) / count for values in (split.predicted, split.labels))
    agree = float((called * labelled[naming]).sum())
    by_one = float(binom.logsf(round(best * count) - 1, count, min(agree, 1.0)))
    return math.exp(min(by_one + math.lgamma(len(naming) + 1), 0.0))


def learned(seen: Seen) -> bool:
    """Whether the training came to tell the classes apart, by its own account."""
    return bool((seen.column("accuracy") >= max(GOOD, seen.majority + GAIN)).any())


def no_better(seen: Seen, than: float) -> bool:
    """Whether the training's own account never came so far: then its labels had these names too, and it mistakes the classes."""
    own = seen.column("accuracy")
    return bool(own.size and own.max() < than)


def sure(split: Split) -> bool:
    """Whether the network is surer of its choices than one that was never trained: half-way from a guess to certain."""
    return bool(split.probabilities.max(axis=1).mean() > (1 + 1 / split.probabilities.shape[1]) / 2)
