"""Branches side by side on the test images that all of them predicted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.reporting.results import Result


def on_same_images(results: Sequence[Result]) -> list[pd.DataFrame]:
    """The results' test tables, cut down to the images that all of them predicted, in one order: the same file at the same path
    under the same label."""
    tables = [result.test for result in results]
    if len({result.tested for result in results}) == 1:
        return tables
    paths = reduce(lambda shared, table: shared.intersection(table.index, sort=False), tables[1:], tables[0].index)
    cut = [table.loc[paths] for table in tables]
    same = np.logical_and.reduce([(table[["label", "hash"]] == cut[0][["label", "hash"]]).all(axis=1) for table in cut])
    return [table[same] for table in cut]


def stacked(tables: Sequence[pd.DataFrame], column: str) -> NDArray[np.float64]:
    """A column of several tables of the same images, (tables, images)."""
    return np.stack([table[column].to_numpy(np.float64) for table in tables])
