"""Loss curves: their numbers for the page, and their print."""

import math
import pathlib
from typing import Any

import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.report.run_directory import RunDirectory

#: Up to so many members each has a line of its own; more show a band.
LINES = 24
#: Looks times terms times members that a page holds; beyond it looks are left out.
_NUMBERS = 300_000
_BAND = (0.1, 0.5, 0.9)


def curves(run: RunDirectory) -> dict[str, Any]:
    """What the page draws, in JSON's terms; None is a gap.

    Returns:
      `members`: number -> its `step`, `loss` and `terms` (name -> values), lists of
      one length; `band`: that of `band`, or None where members have their own
      lines; `stride`: every how many looks one is kept, the last always.
    """
    numbers = sum(len(row["terms"]) + 2 for own in run.rows.values() for row in own)
    stride = max(1, math.ceil(numbers / _NUMBERS))
    return {
        "members": {
            str(member): _lines(_thinned(own, stride))
            for member, own in sorted(run.rows.items())
        },
        "band": band(run) if len(run.rows) > LINES else None,
        "stride": stride,
    }


def band(run: RunDirectory) -> dict[str, list[float]]:
    """The quantiles 0.1, 0.5 and 0.9 of the members' losses, as far as finite.

    Returns:
      `step`, `low`, `median` and `high`, lists of one length. A step counts the
      members that have a row of it.
    """
    losses: dict[int, list[float]] = {}
    for own in run.rows.values():
        for row in own:
            if row["loss"] is not None:
                losses.setdefault(row["step"], []).append(row["loss"])
    steps = sorted(losses)
    quantiles = np.array([np.quantile(losses[step], _BAND) for step in steps])
    low, median, high = quantiles.reshape(-1, 3).T.tolist()
    return {"step": steps, "low": low, "median": median, "high": high}


def write_curves(path: pathlib.Path, run: RunDirectory) -> None:
    """Loss against step as an SVG for print.

    One member shows its terms too, up to 24 a line each, more the median and the
    band between the quantiles 0.1 and 0.9.
    """
    # A slow import, and not needed by those who only write metrics.
    import matplotlib
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    names = {member.number: _legend(member.label) for member in run.members}
    if len(run.rows) > LINES:
        over = band(run)
        axes.fill_between(
            over["step"], over["low"], over["high"], alpha=0.25, label="10 % to 90 %"
        )
        axes.plot(over["step"], over["median"], label=f"median of {len(run.rows)}")
    elif len(run.rows) == 1:
        (own,) = map(_lines, run.rows.values())
        axes.plot(own["step"], _gaps(own["loss"]), color="black", label="total")
        for term, values in own["terms"].items():
            axes.plot(own["step"], _gaps(values), linewidth=1, label=_legend(term))
    else:
        for member, rows in sorted(run.rows.items()):
            own = _lines(rows)
            axes.plot(own["step"], _gaps(own["loss"]), linewidth=1, label=names[member])
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    if run.rows:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    # With neither a date nor random names: the same run makes the same file.
    with matplotlib.rc_context({"svg.hashsalt": "nst_jax"}):
        write_atomically(
            path, lambda partial: figure.savefig(partial, metadata={"Date": None})
        )


def _legend(label: str) -> str:
    """A label that leaves room for the curves, and is no formula to Matplotlib."""
    short = label if len(label) <= 32 else label[:31] + "…"
    return short.replace("$", r"\$")


def _lines(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows turned into columns."""
    return {
        "step": [row["step"] for row in rows],
        "loss": [_rounded(row["loss"]) for row in rows],
        "terms": {
            term: [_rounded(row["terms"].get(term)) for row in rows]
            for term in rows[0]["terms"]
        },
    }


def _thinned(rows: list[dict[str, Any]], stride: int) -> list[dict[str, Any]]:
    """Every so many rows, and the last."""
    return rows[:-1:stride] + rows[-1:]


def _rounded(value: float | None) -> float | None:
    """To five digits, which is more than a line shows and half of the bytes."""
    return None if value is None else float(f"{value:.5g}")


def _gaps(values: list[float | None]) -> np.ndarray:
    """NaN for None, and for what a logarithmic axis has no place for."""
    numbers = np.array(values, np.float64)
    return np.where(numbers > 0, numbers, np.nan)
