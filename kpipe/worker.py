"""The child process that runs stages: tasks in on stdin, events out as JSON lines, a stage's own output to its log."""

from __future__ import annotations

import ast
import json
import os
import queue
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import import_module
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from kpipe.errors import hint_for
from kpipe.identity import keras_config
from kpipe.source import definitions
from kpipe.stage import Branch, Stage, StageError

Emit = Callable[[dict[str, Any]], None]


class ProjectLoader(SourceFileLoader):
    """Imports project modules from their text alone, never from a .pyc (which is trusted by seconds), and remembers it."""

    loaded: dict[str, dict[str, str]] = {}  # noqa: RUF012 - one per process; file -> {definition: digest}

    def get_code(self, fullname: str) -> Any:
        """Compile the source as it is now."""
        path = self.get_filename(fullname)
        source = Path(path).read_bytes()
        self.loaded[path] = definitions(ast.parse(source))
        return self.source_to_code(source, path)


class ProjectFolders:
    """Finds the project's folders of modules first: without an __init__.py they would lose to any package of that name."""

    names: Collection[str] = ()  # one a task

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A folder with Python files and no __init__.py, right below the project's."""
        folder = self.root / name
        if (
            path is not None
            or name not in self.names
            or (folder / "__init__.py").exists()
            or next(folder.glob("*.py"), None) is None
        ):
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def import_from(root: str) -> None:
    """Put the project first on sys.path, its modules imported through ProjectLoader."""

    def finder(path: str) -> FileFinder:
        if not Path(path).is_relative_to(root) or "site-packages" in path:
            raise ImportError
        return FileFinder(path, (ProjectLoader, [".py"]))

    if not any(isinstance(f, ProjectFolders) and f.root == Path(root) for f in sys.meta_path):
        sys.meta_path.insert(0, ProjectFolders(root))
        sys.path_hooks.insert(0, finder)
        sys.path_importer_cache.clear()
        sys.path.insert(0, root)


def loaded_definitions(root: str) -> dict[str, dict[str, str]]:
    """What the project modules that were really imported mean: file -> {definition: digest}."""
    return {Path(path).relative_to(root).as_posix(): found for path, found in ProjectLoader.loaded.items()}


def run_task(task: Mapping[str, Any], emit: Emit) -> None:
    """Call a stage's run() and emit how it ended: done or failed."""
    try:
        forget_project(task["root"])
        import_from(task["root"])
        ProjectFolders.names = task["folders"]
        stage = Stage(**stage_arguments(task), emit=emit)
        forget_keras()
        module = import_module(task["module"])
        params = dict(task["params"]) | {name: Path(path) for name, path in task["paths"].items()}
        module.run(stage, **params)
    except StageError as e:
        emit({"event": "failed", "message": e.message, "hint": e.hint, "final": True})
    except SystemExit as e:
        emit({"event": "failed", "message": f"it called sys.exit({e.code!r})", "hint": "return, or raise StageError"})
    except BaseException as e:  # KeyboardInterrupt too: a real Ctrl-C reaches only the parent
        trace = stage_traceback(e, task["root"])
        emit({"event": "failed", "message": f"{type(e).__name__}: {e}", "hint": hint_for(e), "trace": trace})
    else:
        emit({"event": "done", "loaded": loaded_definitions(task["root"])})


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
        "branches": [Branch(b["axes"], folders(b["inputs"]), b["records"]) for b in task["branches"]],
    }


def forget_project(root: str) -> None:
    """Import the project's modules anew: what one of them remembers must not reach the next stage."""
    for name, module in list(sys.modules.items()):
        folders = [] if getattr(module, "__file__", None) else [str(path) for path in getattr(module, "__path__", ())]
        ours = any(path.startswith(root + os.sep) and "site-packages" not in path for path in folders)
        if ours or isinstance(getattr(module, "__loader__", None), ProjectLoader):
            del sys.modules[name]
    ProjectLoader.loaded.clear()


def forget_keras() -> None:
    """Leave nothing of an earlier stage in this process that could change the next one's bytes."""
    random.seed(0)
    numpy, keras = sys.modules.get("numpy"), sys.modules.get("keras")
    if numpy is not None:
        numpy.random.seed(0)
    if keras is not None:
        keras.utils.clear_session(free_memory=True)
        settings = keras_config()
        keras.config.set_floatx(settings["floatx"])
        keras.config.set_epsilon(settings["epsilon"])
        keras.config.set_image_data_format(settings["image_data_format"])
        keras.config.set_dtype_policy(settings["floatx"])
        keras.utils.set_random_seed(0)


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

    def emit(event: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(event, default=float) + "\n")

    while True:
        task = tasks.get()
        redirect(task["log"])
        run_task(task, emit)
        sys.stdout.flush()
        sys.stderr.flush()


def read_tasks(lines: Iterable[str], tasks: queue.Queue[dict[str, Any]]) -> None:
    """Put every line into the queue; leave when the parent does."""
    for line in lines:
        tasks.put(json.loads(line))
    os.killpg(os.getpgrp(), signal.SIGKILL)  # this process leads its group: what a stage started goes with it


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
