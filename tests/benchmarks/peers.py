"""The other tools, each installed in a virtual environment of its own: kpipe depends on none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.timing import Command, environment, timed

REQUIREMENTS = {"dvc": "dvc==3.67.*", "snakemake": "snakemake==9.*", "pytask": "pytask==0.6.*"}
OWN_FOLDERS = ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "XDG_CACHE_HOME")
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


class Peers:
    """A folder of virtual environments, made where they are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.installed: dict[str, str] = {}  # name -> what there is to say about its installation

    def install(self, name: str) -> None:
        """Make sure that a tool is there in the version that is compared with."""
        home, wanted = self.folder / name, REQUIREMENTS[name]
        python = str(home / "bin" / "python")
        there = self.program(name).exists()
        if not there:
            print(f"installing {wanted} into {home}", file=sys.stderr, flush=True)
            output(sys.executable, "-m", "venv", str(home))
        output(python, "-m", "pip", "install", "--disable-pip-version-check", wanted)
        version = output(python, "-c", VERSION, name).strip()
        self.installed[name] = f"{name} {version} ({'was there' if there else f'pip install {wanted}'}: {home})"

    def program(self, name: str) -> Path:
        """Its console script."""
        return self.folder / name / "bin" / name

    def command(self, name: str, folder: Path, *arguments: str) -> Command:
        """A command line of it: no analytics, no look for a newer version, nothing kept outside the project's folder."""
        own = {variable: str(folder / ".home" / variable.lower()) for variable in OWN_FOLDERS}
        return Command((str(self.program(name)), *arguments), folder, environment(DVC_NO_ANALYTICS="1", **own))

    def begin_dvc(self, folder: Path) -> None:
        """A Git repository with DVC in it."""
        timed(Command(("git", "init", "--quiet"), folder, environment()))
        timed(self.command("dvc", folder, "init", "--quiet"))
        for setting in ("core.analytics", "core.check_update"):
            timed(self.command("dvc", folder, "config", setting, "false"))
        (folder / ".dvcignore").write_text("/.home\n/.kpipe*\n/.snakemake\n/.pytask\n")


def output(*arguments: str) -> str:
    """What a command prints; RuntimeError with its complaint where it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout
