"""What happens to results and to running tools: damage, failure, a kill, a second run."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from tests.benchmarks.faults.trial import Trial, overwrite, page_of
from tests.benchmarks.faults.verdicts import RIGHT, judge

MOST_REQUESTS = 5
SECOND_RUN_S = 6.0  # DVC tries for 3 s to get its lock


def cache_damaged(trial: Trial) -> str:
    """A stored result has other bytes and looks as before, as a failing disk leaves it; the page is deleted."""
    return after_damage(trial, unseen=True)


def cache_overwritten(trial: Trial) -> str:
    """The same by a program, that made it writable and leaves a new time."""
    return after_damage(trial, unseen=False)


def after_damage(trial: Trial, unseen: bool) -> str:
    """What the next run gives; where that is damaged, what the strictest run gives."""
    good, page = page_of(), trial.folder / trial.tool.page
    stored = trial.stored()
    for path in stored:
        overwrite(path, good.replace("one", "0ne").encode(), unseen)
    if stored != [page]:
        page.unlink()
    said = trial.run()
    if trial.page() == good:
        return RIGHT
    verdict = f"**damaged bytes**, {'with a warning' if said.complains else 'nothing said'}" if trial.page() else "**no result**"
    if trial.tool.strict:
        trial.run(*trial.tool.strict)
        verdict += f"; `{trial.tool.strict[-1]}` {'mends it' if trial.page() == good else 'does not mend it'}"
    return verdict


def page_overwritten(trial: Trial) -> str:
    """Somebody overwrites the page."""
    page = trial.folder / trial.tool.page
    overwrite(page, page_of("nothing").encode(), unseen=False)
    return judge(trial, trial.run(), page_of())


def rerun_fails(trial: Trial) -> str:
    """The stage that makes the page fails when it is run again."""
    trial.write("data/second.txt", "three\n")
    (trial.folder / "told" / "fail-report").touch()
    trial.run()
    if trial.page() == page_of():
        return f"{RIGHT}: kept"
    verdict = "**removed**" if trial.page() is None else "**half of a new one**"
    if trial.tool.restore:
        trial.run(*trial.tool.restore)
        back = "brings it back" if trial.page() == page_of() else "does not bring it back"
        verdict += f"; `{' '.join(trial.tool.restore)}` {back}"
    return verdict


def killed_amid(trial: Trial) -> str:
    """SIGKILL for the tool while a stage is half done."""
    trial.write("data/second.txt", "three\n")
    with trial.amid("join") as process:
        ended = trial.kill(process)
    verdict = after_requests(trial, page_of(second="three"))
    return f"{verdict}; its stage {'ends too' if ended else '**runs on**'}"


def after_requests(trial: Trial, expected: str) -> str:
    """The verdict of the next run and, while it asks for something, of the one after that was done."""
    done: list[str] = []
    said = trial.run()
    for _ in range(MOST_REQUESTS):
        asked = [option for option in trial.tool.asks if option in said.text]
        if not said.code or not asked:
            break
        said = trial.run(*trial.tool.asks[asked[0]])
        if not said.code:
            done.append(asked[0])
            said = trial.run()
    verdict = judge(trial, said, expected)
    return f"{verdict} after {' and '.join(f'`{option}`' for option in done)}" if done else verdict


def two_at_once(trial: Trial) -> str:
    """A second run of the same begins while a stage of the first is half done."""
    trial.write("data/second.txt", "three\n")
    with trial.amid("join") as first:
        second = trial.start()
        with suppress(subprocess.TimeoutExpired):
            second.wait(SECOND_RUN_S)
    codes = [trial.end(process).code for process in (first, second)]
    if codes[0] or trial.page() != page_of(second="three"):
        return "**spoilt**"
    if codes[1]:
        return "the second stops"
    return f"{RIGHT}: the second waits" if trial.ran("join") == 1 else "both do the work"
