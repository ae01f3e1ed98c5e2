"""How a network was trained: its phases, the learning rates that were looked for, what the training loss counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from stages.reporting import readings
from stages.reporting.palette import MUTED, Palette
from stages.reporting.results import Result
from stages.reporting.svg import figure, render
from stages.reporting.wording import listing, plural


def phases(result: Result) -> list[dict[str, Any]]:
    """The phases of a training that had several, numbered from 1."""
    told = result.training.get("phases") or []
    return [{"number": number, **phase} for number, phase in enumerate(told, 1)] if len(told) > 1 else []


def rate(phase: dict[str, Any]) -> str:
    """`0.001`, `0.001, cosine after 0.5 epochs of warm-up`, `0.0012, found`: the learning rate of a phase in words."""
    words = [f"{phase['learning_rate']:g}"]
    words += ["found"] if phase["finder"] else []
    words += [phase["schedule"]] if phase["schedule"] != "constant" else []
    told = ", ".join(words)
    told += f", warm-up of {phase['warmup']:g} {'epoch' if phase['warmup'] == 1 else 'epochs'}" if phase["warmup"] else ""
    return told + (f", times {phase['layer_decay']:g} a layer down" if phase["layer_decay"] < 1 else "")


def loss_note(result: Result) -> str:
    """Why the training loss cannot be compared with the validation loss; empty where it can."""
    smoothing, weights = result.training.get("label_smoothing"), result.training.get("class_weights")
    why = [f"of labels smoothed by {smoothing:g}"] if smoothing else []
    why += ["weighted by class"] if weights else []
    return f"The training loss is {listing(why)}; the validation loss is the plain cross-entropy." if why else ""


def mark_phases(axes: Axes, result: Result, *, named: bool) -> None:
    """A line where each phase but the first begins."""
    for phase in phases(result)[1:]:
        begins = phase["first_epoch"] - 0.5
        axes.axvline(begins, color=MUTED[0], linewidth=0.8, linestyle=(0, (1, 2)))
        if named:
            axes.annotate(
                f"phase {phase['number']}", (begins, 0), xytext=(2, 4), textcoords="offset points", rotation=90,
                xycoords=("data", "axes fraction"), color=MUTED[0], fontsize=8,
            )  # fmt: skip


def found_rates(result: Result) -> list[tuple[str, dict[str, Any]]]:
    """Every learning-rate finder of a training: the name of its figure, and its phase."""
    told = [{"number": number, **phase} for number, phase in enumerate(result.training.get("phases") or [], 1)]
    return [(f"finder-{result.slug}-{phase['number']}", phase) for phase in told if phase["finder"]]


def finder_curve(name: str, result: Result, phase: dict[str, Any], palette: Palette) -> str:
    """Smoothed training loss against the growing learning rate; the rate that was chosen is marked."""
    found, color = phase["finder"], palette.color(result.model)
    rates, losses = np.asarray(found["rates"]), np.asarray(found["losses"])
    with figure(name, 3.5, 2.4) as drawing:
        axes = drawing.add_subplot()
        axes.plot(rates, losses, color=color)
        chosen = found["learning_rate"]
        axes.axvspan(*found["falls"], color=color, alpha=0.12, linewidth=0)
        axes.axvline(chosen, color=MUTED[0], linewidth=0.8)
        height = float(np.interp(np.log(chosen), np.log(rates), losses))
        axes.plot(chosen, height, palette.marker(result.model), color=color, markersize=6)
        axes.annotate(
            f"{chosen:g}, chosen", (chosen, 1), xytext=(4, -10), textcoords="offset points", xycoords=("data", "axes fraction")
        )
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", ylim=(0, 1.3 * losses[0]))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")  # as a person would type it
        return render(drawing, readings.rates(axes, found))


def epochs(phase: dict[str, Any]) -> str:
    """`3 to 14`: the epochs of a phase."""
    first, last = phase["first_epoch"], phase["first_epoch"] + phase["epochs_run"] - 1
    return f"{first} to {last}" if last > first else str(first)


def learns(phase: dict[str, Any]) -> str:
    """`the head`, `the head and 4 layers`: what learns in a phase."""
    number = len(phase["unfrozen_layers"])
    return f"the head and {plural(number, 'layer')}" if number else "the head"
