"""From the pipeline file to the DAG: one instance of a stage for every combination of the axes it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpipe.closure import Closure, Project
from kpipe.dag import Dag, Instance, instance_id
from kpipe.errors import ConfigError, Problem, listing, nearest, several
from kpipe.matrix import Combination
from kpipe.needs import topological
from kpipe.parameters import Parameters, check_names, signature
from kpipe.references import references
from kpipe.resolver import Resolver
from kpipe.spec import Spec, StageSpec
from kpipe.tomlfile import shown


def build_dag(spec: Spec, project: Project, offline: bool = False) -> Dag:
    """Expand the matrix and check every instance's parameters; ConfigError lists all mistakes."""
    problems = list(spec.problems)
    builder = Builder(spec, project, problems, offline)
    for stage in topological(spec.stages):
        builder.add(stage)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), file=spec.file, overrides=spec.overrides)
    used = {axis for axes in builder.axes.values() for axis in axes}
    unused = [axis for axis in spec.matrix.axes if axis not in used]
    notices = [*spec.notices, *(f"axis {axis} of the matrix is used by no stage" for axis in unused)]
    spare = [name for name in spec.matrix.extras if name not in builder.mentioned]
    notices += [f"{name}, which include adds, is used by no stage" for name in spare]
    return Dag(spec, builder.instances, tuple(notices))


class Builder:
    """Adds stages one after the other, needs first."""

    def __init__(self, spec: Spec, project: Project, problems: list[Problem], offline: bool = False) -> None:
        self.spec = spec
        self.offline = offline
        self.project = project
        self.problems = problems
        self.instances: dict[str, Instance] = {}
        self.mentioned: set[str] = set()
        self.axes: dict[str, list[str]] = {}  # stage -> its axes, in the matrix's order; what a gathered stage gathers
        self._ids: dict[tuple[str, tuple[Any, ...]], str] = {}

    def add(self, stage: StageSpec) -> None:
        """Make a stage's instances, or report what is wrong with it."""
        self.axes[stage.name] = axes = self._axes(stage)
        if not stage.run:
            return
        try:
            if self.project.path(stage.run) is None:
                raise ConfigError([self._no_module(stage)])
            known = signature(self.project, stage.run)
            closure = self.project.closure(stage.run)
        except ConfigError as e:
            self.problems += e.problems
            return
        self.problems += check_names(stage, known)
        if closure.uses_keras and "backend" in self.spec.matrix.axes and not stage.gather and "backend" not in axes:
            axes = self.axes[stage.name] = [a for a in self.spec.matrix.axes if a in {*axes, "backend"}]
        resolver = Resolver(self.project, stage, known, self.spec.matrix, self.problems, self.spec.store, self.offline)
        for combination in self._projections(() if stage.gather else axes):
            parameters = resolver.resolve(combination)
            own = self.project.closure(stage.run, parameters.modules.values()) if parameters.modules else closure
            self._add_instance(stage, combination, axes, parameters, own)

    def _axes(self, stage: StageSpec) -> list[str]:
        """Axes that a stage mentions or inherits."""
        found = {axis for need in stage.needs for axis in self.axes.get(need, ()) if not self.spec.stages[need].gather}
        for name, reference in ((name, reference) for name, value in stage.params.items() for reference in references(value)):
            axis = reference.partition(".")[0]
            at = ("stages", stage.name, "params", name)
            self.mentioned.add(axis)
            if axis not in self.spec.matrix.axes and axis not in self.spec.matrix.extras:
                near = nearest(axis, self.spec.matrix.axes)
                hint = f"did you mean ${{{near}}}?" if near else f"axes: {listing(self.spec.matrix.axes)}"
                self.problems.append(Problem(f"${{{reference}}}: there is no axis {axis or shown(axis)}", at, hint=hint))
            elif stage.gather:
                self.problems.append(Problem(f"${{{reference}}}: a gathered stage sees all values of {axis}", at))
            else:
                found |= self.spec.matrix.axes_of(axis)
        return [axis for axis in self.spec.matrix.axes if axis in found]

    def _no_module(self, stage: StageSpec) -> Problem:
        package, _, last = stage.run.rpartition(".")
        inside = self.project.modules(stage.run)
        folders = [package] if package and self.project.modules(package) else [p.name for p in self.project.root.iterdir()]
        names = [f"{folder}.{name}" for folder in sorted(folders) for name in self.project.modules(folder)]
        near = nearest(stage.run, names) or next((name for name in names if name.endswith(f".{last}")), None)
        hint = f'did you mean "{near}"?' if near else f"a dotted path below {self.project.root}"
        hint = f"{stage.run} is a folder of modules: {several(inside)}" if inside else hint
        return Problem(f'run = "{stage.run}": there is no such module', ("stages", stage.name, "run"), hint=hint)

    def _projections(self, axes: Sequence[str]) -> list[Combination]:
        """The distinct combinations of these axes, each with the variables that include adds for it."""
        found: dict[tuple[Any, ...], Combination] = {}
        extras = [v for v, on in self.spec.matrix.extras.items() if on <= set(axes)]
        for combination in self.spec.matrix.combinations:
            if any(axis not in combination for axis in axes):
                continue  # the axis has a mistake that is already reported
            part = {name: combination[name] for name in (*axes, *extras) if name in combination}
            found.setdefault(tuple(part[a].name for a in axes), part)
        return list(found.values())

    def _add_instance(
        self, stage: StageSpec, combination: Combination, axes: Sequence[str], parameters: Parameters, closure: Closure
    ) -> None:
        own = [] if stage.gather else axes
        names = tuple(combination[a].name for a in own)
        id_ = instance_id(stage.name, names)
        backend = str(combination["backend"].name) if "backend" in own else self.spec.backend
        if id_ in self.instances:
            self.problems.append(
                Problem(
                    f"two instances are called {id_}", ("stages", stage.name), on="key", hint="axis values must differ as text"
                )
            )
        self._ids[stage.name, names] = id_
        self.instances[id_] = Instance(
            id=id_,
            stage=stage,
            axes=dict(zip(own, names, strict=True)),
            parameters=parameters,
            closure=closure,
            backend=backend if closure.uses_keras else None,
            inputs={} if stage.gather else self._inputs(stage, combination),
            branches=tuple(({a: c[a].name for a in axes}, self._inputs(stage, c)) for c in self._projections(axes))
            if stage.gather
            else (),
        )

    def _inputs(self, stage: StageSpec, combination: Combination) -> dict[str, str]:
        """The instance of every need that belongs to a combination."""
        found = {}
        for need in sorted(stage.needs):  # what a stage sees must not hang on the order in the file
            axes = [] if self.spec.stages[need].gather else self.axes.get(need, [])
            id_ = self._ids.get((need, tuple(combination[a].name for a in axes)))
            if id_:  # absent only where the need itself has a mistake that is already reported
                found[need] = id_
        return found
