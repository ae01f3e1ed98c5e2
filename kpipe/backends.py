"""Which of Keras's backends a pipeline runs on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kpipe.errors import Problem, listing, nearest
from kpipe.identity import BACKENDS
from kpipe.matrix import Matrix
from kpipe.tomlfile import shown


def choose_backend(pipeline: Mapping[str, Any], matrix: Matrix, problems: list[Problem]) -> tuple[str, Matrix, tuple[str, ...]]:
    """The backend (KERAS_BACKEND wins), the matrix narrowed to it where it has a backend axis, and what to say."""
    wanted = os.environ.get("KERAS_BACKEND") or None
    known = f"kpipe runs on {' or '.join(BACKENDS)}"
    if wanted and wanted not in BACKENDS:
        hint = f"KERAS_BACKEND={nearest(wanted.lower(), BACKENDS) or next(iter(BACKENDS))}"
        problems.append(Problem(f"KERAS_BACKEND={wanted}: {known}", hint=hint))
        return wanted, matrix, ()
    axis = matrix.axes.get("backend", ())
    given: list[tuple[Any, tuple[str | int, ...]]] = [(v.name, ("matrix", "backend", v.index)) for v in axis]
    given += [(pipeline["backend"], ("pipeline", "backend"))] if isinstance(pipeline.get("backend"), str) else []
    for name, at in given:
        if name not in BACKENDS:
            near = nearest(str(name).lower(), BACKENDS)
            problems.append(Problem(f"backend {shown(name)}: {known}", at, hint=f'did you mean "{near}"?' if near else None))
    names = [str(v.name) for v in axis]
    if not names:
        return wanted or str(pipeline.get("backend", "tensorflow")), matrix, ()
    if not wanted:
        return names[0], matrix, ()
    if wanted not in names:
        says = f"KERAS_BACKEND={wanted} is not one of the file's backends: {listing(names)}"
        problems.append(Problem(says, ("matrix", "backend"), hint=f"unset KERAS_BACKEND, or list {wanted}"))
        return wanted, matrix, ()
    return wanted, matrix.only("backend", wanted), (f"KERAS_BACKEND={wanted} picks one of the file's backends: {listing(names)}",)
