"""Draws a plot: SVG for a light and a dark page, and PNG.

Rule: the same results give the same file, so that a picture changes only when a figure does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.plots.charts import Bars, Lines, Panel, Plot
from benchmarks.plots.results import Figure

WIDTH, PANEL_HEIGHT = 9.6, 2.9  # inches
ROW_HEIGHT = 0.34
DOTS_PER_INCH = 110


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one kind of page. Each server keeps its own in every plot."""

    name: str
    page: str
    text: str
    faint: str
    grid: str
    servers: tuple[tuple[str, str], ...]
    others: tuple[str, ...]

    def colour(self, name: str, position: int) -> str:
        """The colour of the server that ``name`` begins with, the longest of them."""
        fitting = [prefix for prefix, _ in self.servers if name.startswith(prefix)]
        return dict(self.servers)[max(fitting, key=len)] if fitting else self.others[position % len(self.others)]


THEMES = (
    Theme(
        "light",
        page="#ffffff",
        text="#1f2328",
        faint="#59636e",
        grid="#d8dee4",
        servers=(
            ("rtserver", "#1f6fd1"),
            ("rtserver-async", "#6aa5ea"),
            ("rtserver-full", "#0b3f85"),
            ("node", "#d9622b"),
            ("bun", "#b98a00"),
            ("python-socketio", "#7d8590"),
            ("haproxy", "#8b5fbf"),
            ("nginx", "#1a8f6e"),
            ("direct", "#59636e"),
            ("hand-off", "#1f6fd1"),
            ("relay", "#6aa5ea"),
        ),
        others=("#1f6fd1", "#6aa5ea", "#8b5fbf", "#1a8f6e", "#d9622b"),
    ),
    Theme(
        "dark",
        page="#0d1117",
        text="#e6edf3",
        faint="#9198a1",
        grid="#30363d",
        servers=(
            ("rtserver", "#4c9bf5"),
            ("rtserver-async", "#2f5f9e"),
            ("rtserver-full", "#a5cdff"),
            ("node", "#f0834d"),
            ("bun", "#d9b13b"),
            ("python-socketio", "#8b949e"),
            ("haproxy", "#b48cec"),
            ("nginx", "#3fbf97"),
            ("direct", "#9198a1"),
            ("hand-off", "#4c9bf5"),
            ("relay", "#2f5f9e"),
        ),
        others=("#4c9bf5", "#2f5f9e", "#b48cec", "#3fbf97", "#f0834d"),
    ),
)


def draw(plot: Plot, caption: str, folder: Path) -> list[Path]:
    """Write the plot's files into ``folder``, and say which.

    Args:
        plot: What to draw.
        caption: Below it: the machine and the versions.
        folder: Where ``NAME-light.svg`` and so on go.
    """
    return [path for theme in THEMES for path in _draw(plot, caption, folder, theme)]


def _draw(plot: Plot, caption: str, folder: Path, theme: Theme) -> Iterator[Path]:
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: small files, and the reader's own fonts
        "svg.hashsalt": plot.name,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": theme.text,
        "axes.labelcolor": theme.text,
        "xtick.color": theme.faint,
        "ytick.color": theme.text,
        "axes.edgecolor": theme.grid,
    }
    with mpl.rc_context(settings):
        canvas = _canvas(plot, caption, theme)
        # The PNG is for where no SVG can be shown, and one is enough: it brings its own page.
        for kind in ("svg", "png") if theme is THEMES[0] else ("svg",):
            path = folder / f"{plot.name}-{theme.name}.{kind}"
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            canvas.savefig(path, dpi=DOTS_PER_INCH, facecolor=theme.page, metadata=metadata)
            yield path


def _canvas(plot: Plot, caption: str, theme: Theme) -> Canvas:
    tallest = max(_height(panel) for panel in plot.panels)
    lines = [line for part in caption.split("\n") for line in textwrap.wrap(part, 150)]
    canvas = Canvas(figsize=(WIDTH, tallest + 0.75 + 0.16 * len(lines)), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(plot.title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    canvas.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=theme.faint)
    for panel, axes in zip(plot.panels, canvas.subplots(1, len(plot.panels), squeeze=False)[0], strict=True):
        axes.set_facecolor(theme.page)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        if isinstance(panel, Bars):
            _draw_bars(panel, axes, theme)
        else:
            _draw_lines(panel, axes, theme)
    # Once for all panels, beside the plot, where it covers no line.
    named = {label: line for axes in canvas.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if named:
        canvas.legend(named.values(), named.keys(), loc="outside right upper", frameon=False, fontsize=8.5)
    return canvas


def _height(panel: Panel) -> float:
    return max(1.2, ROW_HEIGHT * len(panel.rows) + 0.5) if isinstance(panel, Bars) else PANEL_HEIGHT


def _draw_bars(panel: Bars, axes: Axes, theme: Theme) -> None:
    for place, (name, figure) in enumerate(panel.rows):
        axes.barh(place, figure.median, height=0.62, color=theme.colour(name, place))
        axes.hlines(place, figure.low, figure.high, color=theme.text, linewidth=1)
        axes.annotate(
            short(figure.median),
            (max(figure.high, figure.median), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    axes.set_yticks(range(len(panel.rows)), [name for name, _ in panel.rows])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xlim(0, (max(figure.high for _, figure in panel.rows) or 1) * 1.18)
    axes.xaxis.grid(visible=True, color=theme.grid, linewidth=0.7)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel(panel.label, fontsize=8.5)


def _draw_lines(panel: Lines, axes: Axes, theme: Theme) -> None:
    for position, (name, points) in enumerate(panel.lines.items()):
        across, figures = [x for x, _ in points], [figure for _, figure in points]
        colour = theme.colour(name, position)
        style = "--" if name.endswith(DASHED) else "-"
        axes.plot(
            across, [figure.median for figure in figures], style, marker="o", markersize=4, color=colour, label=name
        )
        axes.vlines(across, [one.low for one in figures], [one.high for one in figures], color=colour, linewidth=1)
    numbers = sorted({x for points in panel.lines.values() for x, _ in points})
    if panel.logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: panel.ticks(x)))
    if panel.steep:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
    else:
        axes.set_ylim(0, _top(panel))
    axes.yaxis.grid(visible=True, color=theme.grid, linewidth=0.7)
    axes.set_xlabel(panel.across, fontsize=8.5)
    axes.set_title(panel.label, fontsize=8.5, loc="left")


DASHED = (", p50", ", binary", ", classic")


def _top(panel: Lines) -> float:
    figures: list[Figure] = [figure for points in panel.lines.values() for _, figure in points]
    return max(figure.high for figure in figures) * 1.08


def short(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
