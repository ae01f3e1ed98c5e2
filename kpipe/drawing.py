"""The DAG as a tree, as Mermaid and as DOT."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kpipe.dag import Dag


def tree(dag: Dag) -> str:
    """Stages indented below what they need, each with its instances."""
    lines = []
    depth: dict[str, int] = {}
    for name in dict.fromkeys(i.stage.name for i in dag.instances.values()):
        stage = dag.spec.stages[name]
        depth[name] = 1 + max((depth[n] for n in stage.needs), default=-1)
        ids = [i.id for i in dag.instances.values() if i.stage.name == name]
        needs = f"  <- {', '.join(stage.needs)}" if stage.needs else ""
        lines.append("  " * depth[name] + name + (" (gathers)" if stage.gather else "") + needs)
        lines += ["  " * depth[name] + "  - " + id_ for id_ in ids if id_ != name]
    return "\n".join(lines)


def edges(dag: Dag) -> Iterator[tuple[str, str]]:
    """Every need, from the needed instance to the one that needs it."""
    for instance in dag.instances.values():
        for id_ in instance.upstream:
            yield id_, instance.id


def mermaid(dag: Dag) -> str:
    """A Mermaid flowchart."""
    number = {id_: f"n{i}" for i, id_ in enumerate(dag.instances)}
    nodes = [f'  {number[id_]}["{id_}"]' for id_ in dag.instances]
    return "\n".join(["flowchart LR", *nodes, *(f"  {number[a]} --> {number[b]}" for a, b in edges(dag))])


def dot(dag: Dag) -> str:
    """A Graphviz digraph."""
    nodes = [f'  "{id_}";' for id_ in dag.instances]
    return "\n".join(["digraph kpipe {", "  rankdir=LR;", *nodes, *(f'  "{a}" -> "{b}";' for a, b in edges(dag)), "}"])


FORMATS: dict[str, Callable[[Dag], str]] = {"tree": tree, "mermaid": mermaid, "dot": dot}
