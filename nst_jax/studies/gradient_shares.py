"""Share of each part of the loss in the gradient, at the start and at the end."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from nst_jax.metrics.statistics import Estimate, jackknife
from nst_jax.studies.formatting import format_estimate, series_with_intervals
from nst_jax.studies.results import MAX_CURVES, Plot, StudyResult, Table
from nst_jax.studies.run_data import RunData
from nst_jax.workdir.schema import GradientEntry

TITLE = "Gradient norm of each part, in % of the sum of all parts' norms"
#: Name of the row with the norm of the whole gradient.
WHOLE = "all parts together"
TIMES = ("start", "end")

#: Time -> part, or `WHOLE` -> mean share over the seeds.
Shares = dict[str, dict[str, Estimate]]


def study_gradients(run_data: RunData) -> StudyResult:
    """Compare the gradients of the parts of the loss, if they were measured.

    The shares of the parts sum to 100 %. The norm of the whole gradient is at most the
    sum of the parts' norms: 100 % if all parts pull the same way, 0 % where they
    balance.
    """
    axis = run_data.seed_axis
    settings: dict[str, tuple[int, Shares]] = {}
    for label, members in run_data.groups_along(axis, run_data.finals):
        entries = [run_data.run.members[member].gradients for member in members]
        measured = [entry for entry in entries if entry]
        if shares := _mean_shares(measured):
            settings[label] = len(measured), shares
    if not settings:
        return StudyResult()
    rows = tuple(
        (label, name, count, *(format_estimate(shares[x][name], 100) for x in TIMES))
        for label, (count, shares) in settings.items()
        for name in shares["start"]
    )
    head = run_data.other_names(axis), "part", "seeds", "start (%)", "end (%)"
    title = f"{TITLE} (means over seeds, with 95 % confidence intervals)"
    plots = (
        _plot(label, shares)
        for label, (_, shares) in itertools.islice(settings.items(), MAX_CURVES)
    )
    sentences = tuple(
        _describe(label if len(settings) > 1 else "", shares)
        for label, (_, shares) in settings.items()
    )
    if len(settings) > MAX_CURVES:  # The table has them all.
        sentences = ()
    return StudyResult(sentences, (Table(title, head, rows),), tuple(plots))


def gradient_shares(norms: Mapping[str, float | None]) -> dict[str, float] | None:
    """Return each part's share in the sum of the parts' gradient norms.

    Args:
      norms: gradient norm of each part, and of the whole loss under "loss".

    Returns:
      The shares, of sum 1, and the share of the whole gradient under `WHOLE`; None if a
      norm is not finite, or all are 0.
    """
    parts = {name: norm for name, norm in norms.items() if norm is not None}
    if len(parts) < len(norms):
        return None
    whole = parts.pop("loss")
    if not (total := sum(parts.values())):
        return None
    return {name: norm / total for name, norm in parts.items()} | {WHOLE: whole / total}


def _mean_shares(entries: Sequence[GradientEntry]) -> Shares:
    """Return mean shares of members that differ in their seeds; empty for none."""
    means: Shares = {}
    for time in TIMES:
        shares = [gradient_shares(getattr(entry, time)) for entry in entries]
        valid = [share for share in shares if share is not None]
        if not valid or len(valid) < len(shares):
            return {}
        means[time] = {name: _mean([s[name] for s in valid]) for name in valid[0]}
    return means


def _mean(values: Sequence[float]) -> Estimate:
    array = np.array(values)
    return jackknife(lambda members: float(array[members].mean()), len(array))


def _plot(label: str, shares: Shares) -> Plot:
    names = [name for name in shares["start"] if name != WHOLE]
    series = tuple(
        series_with_intervals(time, names, [shares[time][name] for name in names], 100)
        for time in TIMES
    )
    title = ": ".join(filter(None, (TITLE, label)))
    return Plot(title, series, "part", "share (%)", lines=False)


def _describe(label: str, shares: Shares) -> str:
    """Name the part with the largest gradient at the start and at the end."""
    clauses = []
    for time in TIMES:
        parts = {k: v for k, v in shares[time].items() if k != WHOLE}
        largest = max(parts, key=lambda name: parts[name].value)
        clauses.append(
            f"at the {time}, {largest} has {100 * parts[largest].value:.0f} % of the "
            f"sum of gradient norms, and the whole gradient "
            f"{100 * shares[time][WHOLE].value:.0f} %"
        )
    text = "; ".join(clauses)
    return f"“{label}”: {text}." if label else f"{text[:1].upper()}{text[1:]}."
