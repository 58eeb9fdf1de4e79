"""Whether a large picture looks like its preview."""

from typing import Any

from nst_jax.core.errors import RequestError
from nst_jax.metrics.artefacts import scale_consistency
from nst_jax.studies.results import RunData, StudyResult, Table, rounded


def study_scale_consistency(evidence: RunData) -> StudyResult:
    """The pictures along an axis of sizes, brought to the size of the smallest."""
    axis = evidence.axis("size")
    if axis is None:
        return StudyResult()
    rows: list[tuple[Any, ...]] = []
    alike: dict[str, list[float]] = {}
    for label, members in evidence.lines(axis):
        there = [m for m in members if m in evidence.finals]
        there.sort(key=lambda member: evidence.finals[member].size)
        for member in there[1:]:
            large, small = evidence.finals[member], evidence.finals[there[0]]
            if large.shape == small.shape:
                continue
            try:
                found = scale_consistency(large, small)
            except RequestError:  # Less than a window of SSIM, or narrower one way.
                continue
            alike.setdefault(label, []).append(found.ssim)
            sides = (f"{x.shape[1]}×{x.shape[0]}" for x in (large, small))
            distance = rounded(255 * found.rms)
            rows.append((label, *sides, distance, rounded(found.ssim)))
    if not rows:
        return StudyResult()
    table = Table(
        "Whether a large picture, seen from afar, is its preview",
        (evidence.other_names(axis), "px", "preview", "RMS (levels)", "SSIM"),
        tuple(rows),
    )
    least = {label: min(own) for label, own in alike.items()}
    if len(least) < 2:
        return StudyResult(tables=(table,))
    best, worst = max(least, key=least.__getitem__), min(least, key=least.__getitem__)
    words = (
        "Brought to the size of their previews, large pictures have the structure of "
        f"these most at “{best}” (SSIM {least[best]:.2f}) and least at “{worst}” "
        f"({least[worst]:.2f})."
    )
    return StudyResult((words,), (table,))
