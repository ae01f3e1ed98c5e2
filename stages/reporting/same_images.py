"""Branches side by side on the test images that all of them predicted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.reporting.results import Result


def identity(table: pd.DataFrame) -> pd.MultiIndex:
    """What makes an image of a table of predictions the same in two branches: its path, its label, and the hash of its file."""
    return pd.MultiIndex.from_arrays([table.index, table["label"], table["hash"]], names=["path", "label", "hash"])


def on_same_images(results: Sequence[Result]) -> list[pd.DataFrame]:
    """The results' test tables, cut down to the images that all of them predicted, in one order."""
    tables = [result.test for result in results]
    if len({result.tested for result in results}) == 1:
        return tables
    images = [identity(table) for table in tables]
    shared = reduce(lambda common, more: common.intersection(more, sort=False), images[1:], images[0])
    return [table.loc[shared.get_level_values("path")] for table in tables]


def stacked(tables: Sequence[pd.DataFrame], column: str) -> NDArray[np.float64]:
    """A column of several tables of the same images, (tables, images)."""
    return np.stack([table[column].to_numpy(np.float64) for table in tables])
