"""The plots show what a run has measured, and nothing that it has not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plots.__main__ import draw_all
from benchmarks.plots.charts import Bars, Lines, Plot, all_plots
from benchmarks.plots.results import Figure, Results

MACHINE = {
    "processor": "Abacus",
    "processors": 2,
    "kernel": "6.1",
    "python": "3.11.7",
    "node": "v20.20.2",
    "bun": "none",
}


def turn(cpu_us: float, per_second: float = 1_000.0, **more: float) -> dict[str, Any]:
    return {"count": 1, "cpu_us": cpu_us, "per_second": per_second, "rss_kb": 0.0, **more}


def results(**answers: dict[str, list[dict[str, Any]]]) -> Results:
    return Results(MACHINE, 3, {name.replace("_", "-"): rows for name, rows in answers.items()})


def the_plot(found: Results) -> Plot:
    (plot,), _ = all_plots(found)
    return plot


def test_a_figure_is_the_median_with_its_spread() -> None:
    found = results(echo={"rtserver": [turn(12), turn(8), turn(9)]})
    assert found.figure("echo", "rtserver", "cpu_us") == Figure(9, 8, 12)


def test_what_nobody_has_measured_is_no_figure() -> None:
    found = results(echo={"rtserver": [turn(12)]})
    assert found.figure("echo", "rtserver", "rss_kb") is None
    assert found.figure("echo", "node", "cpu_us") is None
    assert found.figure("memory", "rtserver", "rss_kb") is None


def test_a_plot_without_rows_is_left_out_and_named() -> None:
    plots, missing = all_plots(results(echo={"rtserver": [turn(10)]}))
    assert [plot.name for plot in plots] == ["echo"]
    assert {"broadcast", "latency", "memory", "nodes", "payload", "proxy"} <= set(missing)


def test_bars_name_the_servers_in_their_order() -> None:
    rate, cpu = the_plot(results(echo={"rtserver": [turn(10, 2_000)], "node": [turn(20)]})).panels
    assert isinstance(rate, Bars)
    assert isinstance(cpu, Bars)
    assert rate.rows == [("rtserver", Figure(2, 2, 2)), ("node", Figure(1, 1, 1))]
    assert cpu.rows == [("rtserver", Figure(10, 10, 10)), ("node", Figure(20, 20, 20))]


def test_lines_go_by_the_number_and_not_by_the_name() -> None:
    sizes = {f"broadcast_{size}": {"rtserver": [turn(size)]} for size in (10_000, 10)}
    _, cpu = the_plot(results(broadcast={"rtserver": [turn(1_000)]}, **sizes)).panels
    assert isinstance(cpu, Lines)
    assert [x for x, _ in cpu.lines["rtserver"]] == [10, 1_000, 10_000]
    assert [figure.median for _, figure in cpu.lines["rtserver"]] == [10, 1_000, 10_000]


def test_one_size_is_no_line() -> None:
    plots, _ = all_plots(results(broadcast={"rtserver": [turn(7)]}))
    assert plots == []


def test_a_proxy_that_does_nothing_more_has_a_bar_of_nothing() -> None:
    ways = {"direct": [turn(10)], "hand-off": [turn(10, beside_us=0.0)], "relay": [turn(10, beside_us=80.0)]}
    *_, cpu = the_plot(results(proxied=ways)).panels
    assert isinstance(cpu, Bars)
    assert cpu.rows == [("hand-off", Figure(0, 0, 0)), ("relay", Figure(80, 80, 80))]


def test_text_and_binary_payloads_are_lines_of_their_own() -> None:
    answers = {f"{kind}_{size}": {"node": [turn(size)]} for kind in ("payload", "binary") for size in (16, 1_024)}
    _, cpu = the_plot(results(**answers)).panels
    assert isinstance(cpu, Lines)
    assert list(cpu.lines) == ["node", "node, binary"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    answers = {"broadcast": {"rtserver": [turn(6)]}, "broadcast-10": {"rtserver": [turn(9), turn(11)]}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"machine": MACHINE, "turns": 2, "answers": answers}))
    return path


def test_a_drawing_says_what_of_which_machine_and_versions(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_all(source, tmp_path / "plots")
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(drawn) == {"broadcast-light.svg", "broadcast-dark.svg", "broadcast-light.png"}
    assert drawn["broadcast-light.png"].startswith(b"\x89PNG")
    light, dark = (drawn[f"broadcast-{theme}.svg"].decode() for theme in ("light", "dark"))
    assert light != dark
    for said in (
        "Abacus, 2 processors, Linux 6.1",
        "node v20.20.2",
        "µs of the server",
        "rtserver",
        "median of 2 turns",
    ):
        assert said in light
        assert said in dark
    assert "none" not in light.replace("fill: none", "").replace("stroke: none", "")
    assert "left out, for want of rows: echo, " in capsys.readouterr().out

    draw_all(source, tmp_path / "again")
    assert (tmp_path / "again" / "broadcast-light.svg").read_bytes() == drawn["broadcast-light.svg"]
