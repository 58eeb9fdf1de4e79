"""Static figures of plots and matrices."""

import pathlib
from typing import Any

import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.studies.results import Matrix, Plot


def write_figure(
    path: pathlib.Path, item: Plot | Matrix, *, markers: bool = True
) -> None:
    """Write a plot or a matrix as PNG or SVG, the same bytes every time.

    Args:
      path: file with the suffix of its format.
      item: what is drawn.
      markers: draw points and error bars; without them curves are thin lines, and an
        interval is a band.
    """
    import matplotlib  # A slow import.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    if isinstance(item, Matrix):
        ticks = range(len(item.labels))
        figure.colorbar(axes.imshow(item.values, vmin=0))
        axes.set_xticks(ticks, item.labels, rotation=90, fontsize=7)
        axes.set_yticks(ticks, item.labels, fontsize=7)
    else:
        _draw_plot(axes, item, markers)
        if any(series.label for series in item.series):
            figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "nst_jax"}):
        write_atomically(
            path, lambda partial: figure.savefig(partial, metadata={"Date": None})
        )


def _draw_plot(axes: Any, plot: Plot, markers: bool) -> None:
    for series in plot.series:
        y = np.array(series.y, np.float64)
        ends = np.array([series.low, series.high], np.float64)
        label = series.label.replace("$", r"\$")  # No formula.
        if markers:
            errors = np.abs(ends - y) if series.low else None
            style = {"fmt": "o-" if plot.lines else "o", "markersize": 3, "capsize": 2}
            axes.errorbar(series.x, y, errors, label=label, **style)
        else:
            axes.plot(series.x, y, linewidth=1, label=label)
            if series.low:
                axes.fill_between(series.x, *ends, alpha=0.25)
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.x_scale == "log":
        axes.set_xscale("log")
    if plot.y_scale == "log":
        axes.set_yscale("log", nonpositive="mask")
    if any(isinstance(x, str) for series in plot.series for x in series.x):
        axes.tick_params("x", labelrotation=30)
    axes.grid(alpha=0.3, which="both")
