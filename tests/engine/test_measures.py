"""What a stage measured, in the result of a run."""

from __future__ import annotations

from tests.engine.conftest import Toy


def test_json_tells_what_was_measured_when_it_ran_and_when_it_is_cached(toy: Toy) -> None:
    toy.edit("stages/fit.py", "stage.measure(speed=rate)", 'stage.measure(speed=rate, parts=[{"cut": ["a"], "images": 3}])')
    for status in ("done", "cached"):
        [fit, load] = toy.kpipe("run", "--json", "--until", "fit[a]").json["instances"][::-1]
        assert (fit["instance"], fit["status"]) == ("fit[a]", status)
        assert fit["measures"] == {"speed": 0.5, "parts": [{"cut": ["a"], "images": 3}]}
        assert load["measures"] == {}
