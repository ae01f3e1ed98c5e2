"""The child process that runs stages: tasks in on stdin, events out as JSON lines, a stage's own output to its log."""

from __future__ import annotations

import json
import os
import queue
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from kpipe.afresh import forget_keras, freeze_libraries, put_back, seed, seed_on_import
from kpipe.errors import OtherCode, RemoteError, hint_for
from kpipe.imports import ProjectLoader, forget_project, import_from
from kpipe.stage import Branch, Stage, StageError
from kpipe.urls import parse

Emit = Callable[[dict[str, Any]], None]
FILES = 65_536  # that a stage may have open


def run_task(task: Mapping[str, Any], emit: Emit) -> None:
    """Call a stage's run() in a process as if that was new, and emit how it ended: done or failed."""
    process = os.getpid()
    with put_back():
        ended = attempt(task, emit)
    if os.getpid() != process:  # a child that the stage forked came back from run()
        leave(ended)
    emit(ended)


def attempt(task: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Call a stage's run(); the event of how it ended."""
    try:
        forget_project(task["root"])
        import_from(task["root"], task["code"])
        forget_keras()
        freeze_libraries()
        seed_on_import()
        seed()
        stage = Stage(**stage_arguments(task), emit=emit)
        module = import_module(task["module"])
        params = dict(task["params"]) | {name: Path(path) for name, path in task["paths"].items()}
        params |= downloaded(task, stage)
        seed()
        module.run(stage, **params)
    except (StageError, OtherCode, RemoteError) as e:
        return {"event": "failed", "message": e.message, "hint": e.hint, "final": True}
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        return {
            "event": "failed",
            "message": f"it called sys.exit({e.code!r})",
            "hint": "return, or raise StageError",
            "code": code,
        }
    except BaseException as e:  # KeyboardInterrupt too: a real Ctrl-C reaches only the parent
        trace = stage_traceback(e, task["root"])
        return {"event": "failed", "message": f"{type(e).__name__}: {e}", "hint": hint_for(e), "trace": trace}
    return {"event": "done", "loaded": dict(ProjectLoader.loaded)}


def leave(ended: Mapping[str, Any]) -> None:
    """End a child of this process as Python ends it: the task is its parent's."""
    sys.stderr.write(ended.get("trace", ""))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.get("code", ended["event"] == "failed"))


def stage_arguments(task: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of Stage from a task's plain data."""

    def folders(paths: Mapping[str, str]) -> dict[str, Path]:
        return {name: Path(path) for name, path in paths.items()}

    return {
        "out": Path(task["out"]),
        "scratch": Path(task["scratch"]),
        "store": Path(task["store"]),
        "inputs": folders(task["inputs"]),
        "records": task["records"],
        "modules": task["modules"],
        "root": Path(task["root"]),
        "code": task["code"],
        "urls": {name: parse(told["url"]).shown for name, told in task["sources"].items()},
        "branches": [Branch(b["axes"], folders(b["inputs"]), b["records"], tuple(b.get("runs", ()))) for b in task["branches"]],
    }


def downloaded(task: Mapping[str, Any], stage: Stage) -> dict[str, Path]:
    """The parameters whose values are URLs, as files and folders in the stage's scratch folder."""
    if not task["sources"]:
        return {}
    from kpipe.download import fetch
    from kpipe.sources import Source

    def say(done: float, total: float) -> None:
        stage.progress(round(done / 1e6, 1), round(total / 1e6, 1), what="MB downloaded")

    found, began, into = {}, time.monotonic(), stage.scratch / "remote"
    shutil.rmtree(into, ignore_errors=True)
    for name, told in task["sources"].items():
        fetched = fetch(Source.from_json(told), told["identity"], Path(task["store"]), into, say)
        found[name] = fetched.path
        stage.measure(**{f"{name}_{measure}": value for measure, value in fetched.measures.items()})
        for text in fetched.notices:
            stage.notice(text)
    stage.measure(download_seconds=time.monotonic() - began)
    return found


def stage_traceback(error: BaseException, root: str) -> str:
    """The traceback from the stage's own first frame on."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((i for i, f in enumerate(frames) if f.filename.startswith(root + os.sep) and f.filename != __file__), 0)
    lines = traceback.format_list(frames[first:]) + traceback.format_exception_only(error)
    return "Traceback (most recent call last):\n" + "".join(lines)


def main() -> None:
    """Serve tasks until stdin closes; a parent that is gone ends this process in whatever it does."""
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    lines = os.fdopen(os.dup(0), "r", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # a stage that reads stdin must not take the next task
    lock = threading.Lock()
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=read_tasks, args=(lines, tasks), daemon=True).start()

    def emit(task: Mapping[str, Any], event: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps({**event, "out": task["out"]}, default=float) + "\n")

    allow_many_files()
    while True:
        task = tasks.get()
        redirect(task["log"])
        run_task(task, partial(emit, task))
        sys.stdout.flush()
        sys.stderr.flush()


def read_tasks(lines: Iterable[str], tasks: queue.Queue[dict[str, Any]]) -> None:
    """Put every line into the queue; leave when the parent does."""
    for line in lines:
        tasks.put(json.loads(line))
    os.killpg(os.getpgrp(), signal.SIGKILL)  # this process leads its group: what a stage started goes with it


def allow_many_files() -> None:
    """Let this process open as many files as it may: the 1,024 that are usual are fewer than the parts of many activations."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def redirect(log: str) -> None:
    """Send everything the process prints, native code's output too, to a task's log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


if __name__ == "__main__":
    main()
