"""plan, explain, dag: what they say before anything runs."""

from __future__ import annotations

import json

from kpipe.key import SCHEMA
from kpipe.store import Store
from tests.engine.conftest import Toy


def test_plan_says_what_would_run_before_it_does(toy: Toy) -> None:
    assert toy.kpipe("plan").out == (
        "load    run  not run before\nfit[a]  run  not run before\nfit[b]  run  not run before\nreport  run  not run before\n"
    )
    toy.run()
    assert toy.kpipe("plan").out == "load    cached\nfit[a]  cached\nfit[b]  cached\nreport  cached\n"
    assert toy.kpipe("plan", "--set", "stages.fit.params.epochs=9").out == (
        "load    cached\nfit[a]  run      epochs 8 -> 9\nfit[b]  run      epochs 8 -> 9\n"
        "report  depends  on what fit[a], fit[b] will give\n"
    )


def test_explain_shows_old_and_new(toy: Toy) -> None:
    toy.run()
    assert toy.kpipe("explain", "fit", "--set", "stages.fit.params.epochs=9").out == (
        "fit[a]: run\n  epochs 8 -> 9\nfit[b]: run\n  epochs 8 -> 9\n"
    )
    toy.edit("stages/helper.py", "x * FACTOR", "FACTOR * x")
    toy.edit("stages/deep.py", "10", "20")
    toy.write("data/1.txt", "other words")
    assert toy.kpipe("explain", "fit[a]").out == (
        "fit[a]: run\n  stages/deep.py: FACTOR changed\n  stages/helper.py: scale changed\n"
    )
    assert toy.kpipe("explain", "load").out == "load: run\n  file source changed\n"
    found = toy.kpipe("explain", "fit[a]", "--json").json
    assert found[0]["depends_on"] == ["load"]
    assert {r["name"] for r in found[0]["reasons"]} == {"stages/deep.py: FACTOR", "stages/helper.py: scale"}


def test_explain_names_an_input_that_changed(toy: Toy) -> None:
    toy.run()
    toy.write("data/1.txt", "other words")
    toy.run("--until", "load")
    assert toy.kpipe("explain", "fit[b]").out == "fit[b]: run\n  input load changed\n"
    toy.run("--until", "fit")
    assert toy.kpipe("explain", "report").out == ("report: run\n  branch a (fit, load) changed\n  branch b (fit, load) changed\n")


def test_run_says_the_same_reason_as_plan(toy: Toy) -> None:
    toy.run()
    assert "fit[a]  runs: epochs 8 -> 9\n" in toy.kpipe("run", "--set", "stages.fit.params.epochs=9").err


def test_dag_as_tree_mermaid_and_dot(toy: Toy) -> None:
    assert toy.kpipe("dag").out == ("load\n  fit  <- load\n    - fit[a]\n    - fit[b]\n    report (gathers)  <- load, fit\n")
    assert "  n0 --> n1\n" in toy.kpipe("dag", "--format", "mermaid").out
    assert '  "load" -> "fit[a]";\n' in toy.kpipe("dag", "--format", "dot").out


def test_order_of_axes_is_part_of_what_a_gathered_stage_sees(toy: Toy) -> None:
    two = '[matrix]\nmodel = [{ name = "a", rate = 0.5 }, { name = "b", rate = 2 }]'
    toy.edit("pipeline.toml", two, two + '\nbest = ["x", "y"]')
    toy.edit("pipeline.toml", "epochs = 8", 'epochs = 8\nnote = "${best}"')
    toy.edit("stages/fit.py", "epochs: int = 1", "epochs: int = 1, note: str = ''")
    toy.run()
    assert toy.report.splitlines()[1].startswith("a,x: ")
    assert toy.kpipe("plan", "--set", "stages.fit.params.epochs=9").out.splitlines()[-1].startswith("report    depends")
    text = (
        (toy.root / "pipeline.toml")
        .read_text()
        .replace(two, "[matrix]")
        .replace('\nbest = ["x", "y"]', '\nbest = ["x", "y"]' + two[8:])
    )
    toy.write("pipeline.toml", text)
    assert toy.ran() >= {"report"}
    assert toy.report.splitlines()[1].startswith("x,a: ")


def test_another_key_schema_is_the_one_reason(toy: Toy) -> None:
    toy.run()
    head, old = toy.root / ".kpipe" / "heads" / "toy.json", "0" * 64
    key = json.loads(head.read_text())["load"]["key"]
    record = Store(toy.root / ".kpipe").record(key)
    assert record
    record |= {"key_digest": old, "key": {"schema": 0, "gathered": "of another form", "code": {}}}
    Store(toy.root / ".kpipe").publish(old, record, {})
    (toy.root / ".kpipe" / "records" / f"{key}.json").unlink()
    head.write_text(head.read_text().replace(key, old))
    assert toy.kpipe("explain", "load").out == f"load: run\n  kpipe's key schema 0 -> {SCHEMA}\n"
