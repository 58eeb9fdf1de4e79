"""Effects of single axes: seeds against the content, solvers, time by size, sizes."""

import itertools
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.metrics.artefacts import scale_consistency
from nst_jax.metrics.distances import (
    CUTOFF,
    band_rms,
    difference_image,
    steps_to_loss,
)
from nst_jax.studies.formatting import round_digits, to_levels
from nst_jax.studies.results import Picture, Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import Rows, RunData, limit_seeds

#: Difference images, at most.
MAX_DIFFERENCES = 12
#: Steps of a group that its time per step is computed from, at least.
MIN_TIMED_STEPS = 5
_BANDS = f"coarse and fine are split at a wavelength of {1 / CUTOFF:.0f} pixels"


def study_seed_differences(run_data: RunData) -> StudyResult:
    """Measure the distance of seeds from the content image, and from each other.

    Distances between seeds are left out for groups that `study_seed_dispersion`
    measures.
    """
    axis = run_data.seed_axis
    if axis is None:
        return StudyResult()
    finals, contents = run_data.finals, run_data.contents
    measured = {group.members[0] for group in run_data.seed_groups}
    records = []
    shares: list[float] = []
    pictures: list[Picture] = []
    for label, members in map(limit_seeds, run_data.groups_along(axis, finals)):
        if len(members) < 2:
            continue
        comparisons = {}
        if members[0] not in measured:
            comparisons["between seeds"] = [
                (finals[a], finals[b]) for a, b in itertools.combinations(members, 2)
            ]
        comparisons["from the content"] = [
            (finals[m], contents[m])
            for m in members
            if m in contents and contents[m].shape == finals[m].shape
        ]
        record = {}
        for name, pairs in comparisons.items():
            if not pairs:
                continue
            squares = np.square([band_rms(a, b, CUTOFF) for a, b in pairs])
            coarse, fine = np.sqrt(squares.mean(0)).tolist()
            record[f"{name}, coarse"] = to_levels(coarse)
            record[f"{name}, fine"] = to_levels(fine)
            if name == "between seeds" and (energy := coarse**2 + fine**2):
                shares.append(coarse**2 / energy)
            if not np.array_equal(*pairs[0]):
                difference, gain = difference_image(*pairs[0])
                name = name.replace("between seeds", "of two seeds")
                title = f"{label}: difference {name}, × {gain:.3g}"
                pictures.append(Picture(title, difference))
        records.append(([label], record))
    if not any(record for _, record in records):
        return StudyResult()
    title = (
        f"Distance between seeds and from the content (RMS, levels of 255; {_BANDS})"
    )
    table = Table.from_records(title, [run_data.other_names(axis)], records)
    sentences = _energy_sentence(shares)
    return StudyResult(sentences, (table,), pictures=tuple(pictures[:MAX_DIFFERENCES]))


def _energy_sentence(shares: Sequence[float]) -> tuple[str, ...]:
    if not shares:
        return ()
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    share = low if low == high else f"{low} to {high}"
    return (
        f"Wavelengths above {1 / CUTOFF:.0f} pixels hold {share} % of the energy of "
        "the difference between seeds; the rest is fine grain.",
    )


def study_solvers(run_data: RunData) -> StudyResult:
    """Count the steps and evaluations of each solver to a loss that all reach."""
    axis = run_data.find_axis("solver", "solver.name")
    if axis is None or not all(
        path.startswith("solver") or path == "steps" for path in run_data.fields[axis]
    ):
        return StudyResult()
    names = run_data.run.axes[axis].labels
    rows: list[tuple[Any, ...]] = []
    costs: list[list[tuple[float, float]]] = []
    for label, members in run_data.groups_along(axis, run_data.rows):
        histories = [run_data.rows[m] for m in members]
        last = [rows[-1]["loss"] for rows in histories]
        if len(last) < len(names) or not all(loss and loss > 0 for loss in last):
            continue
        costs.append([_cost_to_loss(history, max(last)) for history in histories])
        cells = (round(number, 1) for cost in costs[-1] for number in cost)
        rows.append((label, max(last), *cells))
    if not rows:
        return StudyResult()
    title = "Steps and evaluations to the lowest loss that all solvers reach"
    units = (f"{name}: {unit}" for name in names for unit in ("steps", "evaluations"))
    columns = run_data.other_names(axis), "loss", *units
    by_solver = np.asarray(costs).transpose(1, 2, 0)
    return StudyResult(
        tuple(
            _solver_sentence(name, names[-1], cost, by_solver[-1])
            for name, cost in zip(names[:-1], by_solver[:-1], strict=True)
        ),
        (Table(title, columns, tuple(rows)),),
    )


def _cost_to_loss(rows: Rows, target: float) -> tuple[float, float]:
    """Steps and evaluations to a loss that is reached."""
    losses = [np.nan if row["loss"] is None else row["loss"] for row in rows]
    steps = [row["step"] for row in rows]
    step = steps_to_loss(losses, steps, target)
    assert step is not None
    return step, float(np.interp(step, steps, [row["evaluations"] for row in rows]))


def _solver_sentence(
    name: str, reference: str, costs: np.ndarray, reference_costs: np.ndarray
) -> str:
    """Compare costs [2, N], in steps and in evaluations, of two solvers."""
    steps, evaluations = (
        [a / b for a, b in zip(cost, reference_cost, strict=True) if b > 0]
        or [math.nan]
        for cost, reference_cost in zip(costs, reference_costs, strict=True)
    )
    return (
        f"To reach the same loss, {name} needs {median(steps):.2g} times the steps of "
        f"{reference} (median of {costs.shape[1]}, range {min(steps):.2g} to "
        f"{max(steps):.2g}) and {median(evaluations):.2g} times the evaluations."
    )


def study_step_times(run_data: RunData) -> StudyResult:
    """Fit the time per step against the pixel count, if only the size varies it."""
    run, axis = run_data.run, run_data.find_axis("size")
    if axis is None or len(run.groups) != len(run.axes[axis].labels):
        return StudyResult()
    ladder = run.config.get("ladder", {})
    if ladder.get("sizes") or ladder.get("start"):
        return StudyResult()  # A group's time is the sum over all its stages.
    groups = [g for g in run.groups if g.member_steps >= MIN_TIMED_STEPS]
    groups.sort(key=lambda group: math.prod(group.size))
    pixels = tuple(math.prod(group.size) for group in groups)
    seconds = tuple(group.run_s / group.member_steps for group in groups)
    if len(set(pixels)) < 3:
        return StudyResult()
    exponent = np.polyfit(np.log(pixels), np.log(seconds), 1)[0]
    if exponent <= 0:
        return StudyResult()  # The runs are too short to time.
    columns = "image", "pixels", "seconds per step", "microseconds per pixel"
    sizes = [group.size for group in groups]
    rows = (
        (f"{width}×{height}", n, round_digits(time), round_digits(1e6 * time / n))
        for (height, width), n, time in zip(sizes, pixels, seconds, strict=True)
    )
    title = "Time per step by image size"
    series = (Series("", pixels, seconds),)
    return StudyResult(
        (f"Time per step grows with the {exponent:.2f}th power of the pixel count.",),
        (Table(title, columns, tuple(rows)),),
        (Plot(title, series, "pixels", "seconds per step", "log"),),
    )


def study_scale_consistency(run_data: RunData) -> StudyResult:
    """Compare the results along a size axis with the smallest one, at its size."""
    axis = run_data.find_axis("size")
    if axis is None:
        return StudyResult()
    rows: list[tuple[Any, ...]] = []
    lowest: dict[str, float] = {}
    for label, members in run_data.groups_along(axis, run_data.finals):
        images = sorted((run_data.finals[m] for m in members), key=np.size)
        for large in images[1:]:
            if large.shape == images[0].shape:
                continue
            try:
                similarity = scale_consistency(large, images[0])
            except RequestError:  # Too small for SSIM, or one side is narrower.
                continue
            lowest[label] = min(lowest.get(label, 1.0), similarity.ssim)
            size, preview = (f"{x.shape[1]}×{x.shape[0]}" for x in (large, images[0]))
            rms, ssim = to_levels(similarity.rms), round_digits(similarity.ssim)
            rows.append((label, size, preview, rms, ssim))
    if not rows:
        return StudyResult()
    title = "Large results, scaled down, against their smallest preview"
    columns = run_data.other_names(axis), "size", "preview", "RMS (levels)", "SSIM"
    table = Table(title, columns, tuple(rows))
    if len(lowest) < 2:
        return StudyResult(tables=(table,))
    worst, *_, best = sorted(lowest, key=lowest.__getitem__)
    sentence = (
        "Scaled down to the size of the preview, large results are most similar to it "
        f"for “{best}” (SSIM {lowest[best]:.2f}) and least for “{worst}” "
        f"({lowest[worst]:.2f})."
    )
    return StudyResult((sentence,), (table,))
