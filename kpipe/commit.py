"""From a finished folder to a published record: nothing is committed that does not belong to its key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpipe import sealed
from kpipe.closure import Project, resources
from kpipe.digest import digest_file
from kpipe.errors import ConfigError, OtherCode, RemoteError, StageFailed, disk_hint
from kpipe.explain import changes
from kpipe.host import describe_host, git_commit
from kpipe.identity import forget_versions, surroundings
from kpipe.imports import EDITED, refuse_other_code
from kpipe.outcome import Running
from kpipe.plan import Planner
from kpipe.store import now


def commit(planner: Planner, running: Running, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Check that the key still holds, move the output in, publish the record; StageFailed where it does not hold."""
    instance = running.instance
    check_unchanged(planner, running, loaded)
    out = Path(running.task.out)
    refuse_special_files(instance.id, out)
    try:
        with planner.store.using():
            return store_output(planner, running, out)
    except OSError as e:
        where = f"its output cannot be stored in {planner.store.root}: {e.strerror}"
        raise StageFailed(instance.id, where, hint=disk_hint(e)) from None


def store_output(planner: Planner, running: Running, out: Path) -> dict[str, Any]:
    """Move the output in and publish its record."""
    instance = running.instance
    output = planner.store.add_object(out)
    planner.store.hold([output])
    record = {
        "stage": instance.stage.run,
        "instance": instance.id,
        "key": running.key.as_json(),
        "key_digest": running.key.digest,
        "output_digest": output,
        "created": now(),
        "host": describe_host(),
        "seconds": round(time.monotonic() - running.since, 3),
        "measures": running.measures,
        "notices": running.notices,
        "git": git_commit(planner.dag.spec.root),
    }
    planner.store.publish(running.key.digest, record, instance.closure.code)
    return record


def refuse_special_files(id_: str, out: Path) -> None:
    """StageFailed where the output is gone or holds anything but files and folders: a link's target is no part of it."""
    if out.is_symlink():
        raise StageFailed(id_, "it put a link in the place of its output folder stage.out", hint="write into stage.out")
    if not out.is_dir():
        raise StageFailed(id_, "it removed its output folder stage.out", hint="leave in stage.out what is the artifact")
    name = sealed.special(out)
    if name:
        raise StageFailed(id_, f"its output holds {name}, which is no file or folder", hint="copy what a link points to")


def check_unchanged(planner: Planner, running: Running, loaded: Mapping[str, Any]) -> None:
    """StageFailed where code, files or inputs are no longer what the key says, or other code than that was imported."""
    instance = running.instance
    project = Project(planner.dag.spec.root, planner.store.sources)
    try:
        closure = project.closure(instance.stage.run, instance.parameters.modules.values())
        files = instance.parameters.digests(planner.store.files)
    except (ConfigError, OSError) as e:
        raise StageFailed(instance.id, f"its code or inputs changed while it ran: {e}", hint=EDITED) from None
    except RemoteError as e:
        says = f"whether its input changed while it ran cannot be seen: {e}"
        raise StageFailed(instance.id, says, hint="nothing was committed; run again: what was downloaded is kept") from None
    code = instance.closure.code
    before = running.key.as_json() | {"code": code}
    forget_versions()
    after = before | {"code": closure.code, "files": files, **surroundings(closure.imports, instance.backend)}
    found = [str(c) for c in changes(before, after)]
    found += [f"input {need} ({fault})" for need, digest in input_digests(before) if (fault := planner.store.fault(digest))]
    if found:
        raise StageFailed(instance.id, f"changed while it ran: {', '.join(found)}", hint=EDITED)
    try:
        refuse_other_code(code, loaded)
    except OtherCode as e:
        raise StageFailed(instance.id, e.message, hint=e.hint) from None


def drop_spoiled_scratch(planner: Planner, running: Running) -> None:
    """Remove what an attempt left for the next one where a file that it may have read is no longer the one of its key.

    Other code than the key's is never imported, and what lies behind a URL is read from copies that are checked.
    """
    if reads_changed(planner, running):
        planner.store.discard(planner.store.scratch(running.key.digest))


def reads_changed(planner: Planner, running: Running) -> bool:
    """Whether a file, a resource or an artifact that a key names is another than it says."""
    key, instance, cache = running.key.as_json(), running.instance, planner.store.files
    try:
        files = replace(instance.parameters, sources={}).digests(cache)
        texts = {name: digest_file(planner.dag.spec.root / file, cache) for name, file in resources(instance.closure.code)}
    except (ConfigError, OSError):
        return True
    known = {**key["files"], **instance.closure.code}
    changed = any(known[name] != digest for name, digest in (files | texts).items())
    return changed or any(planner.store.fault(digest) for _need, digest in input_digests(key))


def input_digests(key: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every artifact that a key's stage reads."""
    found = list(key["inputs"].items())
    for branch in key["branches"]:
        found += branch["inputs"].items()
    return found
