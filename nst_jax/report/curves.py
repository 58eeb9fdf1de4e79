"""Loss curves: their data for the page, and as a plot for print."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.report.run_directory import RunDirectory
from nst_jax.studies.results import Plot, Series
from nst_jax.workdir.schema import Row

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


def loss_plot(run: RunDirectory) -> Plot:
    """Return loss against step, for print.

    A single member also shows its terms, up to 24 members have a curve each, and more
    are drawn as their median and the band between the quantiles 0.1 and 0.9.
    """
    data = curves(run)
    lines: dict[str, tuple[Sequence, ...]]
    if step := data["band"]:
        label = f"median of {len(run.rows)}, and 10 % to 90 %"
        lines = {label: (step["step"], step["median"], step["low"], step["high"])}
    elif len(run.rows) == 1:
        ((_, columns),) = data["members"].items()
        losses = {"total": columns["loss"], **columns["terms"]}
        lines = {name: (columns["step"], values) for name, values in losses.items()}
    else:
        lines = {
            run.members[int(member)].label: (columns["step"], columns["loss"])
            for member, columns in data["members"].items()
        }
    series = (
        # Wrapped to leave room for the curves.
        Series("\n".join(textwrap.wrap(label, 32)), *map(tuple, line))
        for label, line in lines.items()
    )
    return Plot("", tuple(series), "step", "loss")


def _as_columns(rows: list[Row]) -> dict[str, Any]:
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
