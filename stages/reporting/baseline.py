"""The trivial baseline: always answering the most frequent class of the training images."""

from __future__ import annotations

import numpy as np

from stages.reporting.paired import ALPHA, paired_test
from stages.reporting.results import Result
from stages.reporting.same_images import on_same_images, stacked
from stages.reporting.trainings import Group


def beats_majority(shown: Result | Group) -> bool:
    """Whether the test images show the network to be better than that answer is on the very same ones."""
    results = [shown] if isinstance(shown, Result) else list(shown.results)
    tables = on_same_images(results)
    if not len(tables[0]):
        return False
    answer = (tables[0]["label"] == results[0].metrics["majority_class"]).to_numpy(np.float64)
    alone = stacked(tables, "correct") - answer
    return bool(alone.mean() > 0 and paired_test(alone)[1] < ALPHA)
