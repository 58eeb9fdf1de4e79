"""Similarity of large results to their small previews."""

from typing import Any

from nst_jax.core.errors import RequestError
from nst_jax.metrics.artefacts import scale_consistency
from nst_jax.studies.formatting import round_digits, to_levels
from nst_jax.studies.results import StudyResult, Table
from nst_jax.studies.run_data import RunData


def study_scale_consistency(run_data: RunData) -> StudyResult:
    """Compare the results along a size axis with the smallest one, at its size."""
    axis = run_data.find_axis("size")
    if axis is None:
        return StudyResult()
    rows: list[tuple[Any, ...]] = []
    lowest: dict[str, float] = {}
    for label, members in run_data.groups_along(axis):
        images = [run_data.finals[m] for m in run_data.finished(members)]
        images.sort(key=lambda image: image.size)
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
