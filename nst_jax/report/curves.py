"""Loss curves: their data for the page, and an SVG for print."""

import math
import pathlib
import textwrap
from typing import Any

import numpy as np

from nst_jax.core.atomic import write_atomically
from nst_jax.report.run_directory import RunDirectory

#: Members with a curve each, at most; more members are drawn as a band.
MAX_CURVES = 24
#: Numbers (rows × terms × members) in a page, at most; beyond it rows are skipped.
_NUMBERS = 300_000
_QUANTILES = (0.1, 0.5, 0.9)


def curves(run: RunDirectory) -> dict[str, Any]:
    """Return the curves that the page draws, as JSON values; None leaves a gap.

    Returns:
      `members`: number -> `step`, `loss` and `terms` (name -> values), lists of one
      length. `band`: result of `band`, or None if members have a curve each.
      `stride`: every how many rows one is kept; the last row always is.
    """
    count = sum(len(row["terms"]) + 2 for rows in run.rows.values() for row in rows)
    stride = max(1, math.ceil(count / _NUMBERS))
    return {
        "members": {
            str(member): _as_columns(rows[:-1:stride] + rows[-1:])
            for member, rows in sorted(run.rows.items())
        },
        "band": band(run) if len(run.rows) > MAX_CURVES else None,
        "stride": stride,
    }


def band(run: RunDirectory) -> dict[str, list[float]]:
    """Return the quantiles 0.1, 0.5 and 0.9 of the members' finite losses by step.

    Returns:
      `step`, `low`, `median` and `high`, lists of one length.
    """
    losses: dict[int, list[float]] = {}
    for rows in run.rows.values():
        for row in rows:
            if row["loss"] is not None:
                losses.setdefault(row["step"], []).append(row["loss"])
    steps = sorted(losses)
    quantiles = np.array([np.quantile(losses[step], _QUANTILES) for step in steps])
    low, median, high = quantiles.reshape(-1, 3).T.tolist()
    return {"step": steps, "low": low, "median": median, "high": high}


def write_curves(path: pathlib.Path, run: RunDirectory) -> None:
    """Write loss against step as an SVG, which is deterministic.

    A single member also shows its terms, up to 24 members have a curve each, and more
    are drawn as their median and the band between the quantiles 0.1 and 0.9.
    """
    import matplotlib  # A slow import.
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    if len(run.rows) > MAX_CURVES:
        quantiles = band(run)
        step, low, high = (quantiles[name] for name in ("step", "low", "high"))
        axes.fill_between(step, low, high, alpha=0.25, label="10 % to 90 %")
        axes.plot(step, quantiles["median"], label=f"median of {len(run.rows)}")
    else:
        labels = {member.number: member.label for member in run.members}
        for member, rows in sorted(run.rows.items()):
            columns = _as_columns(rows)
            is_single = len(run.rows) == 1
            style = {"color": "black"} if is_single else {"linewidth": 1}
            label = "total" if is_single else _legend_label(labels[member])
            losses = _positive_or_nan(columns["loss"])
            axes.plot(columns["step"], losses, label=label, **style)
            for term, values in columns["terms"].items() if is_single else ():
                losses = _positive_or_nan(values)
                label = _legend_label(term)
                axes.plot(columns["step"], losses, linewidth=1, label=label)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    if run.rows:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "nst_jax"}):
        write_atomically(
            path, lambda partial: figure.savefig(partial, metadata={"Date": None})
        )


def _legend_label(label: str) -> str:
    """Wrap a label to leave room for the curves, and escape matplotlib's formulas."""
    return "\n".join(textwrap.wrap(label, 32)).replace("$", r"\$")


def _as_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Metrics rows as columns."""
    return {
        "step": [row["step"] for row in rows],
        "loss": [_round(row["loss"]) for row in rows],
        "terms": {
            term: [_round(row["terms"].get(term)) for row in rows]
            for term in rows[0]["terms"]
        },
    }


def _round(value: float | None) -> float | None:
    """Round to five digits, which halves the size of the page."""
    return None if value is None else float(f"{value:.5g}")


def _positive_or_nan(values: list[float | None]) -> np.ndarray:
    """Values for a logarithmic axis: NaN replaces None and values ≤ 0."""
    numbers = np.array(values, np.float64)
    return np.where(numbers > 0, numbers, np.nan)
