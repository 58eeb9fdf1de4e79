"""Whether large pictures are said to look like their previews, where it is planted."""

import numpy as np
from pictures import smooth_picture

from nst_jax.metrics.artefacts import scale_consistency
from nst_jax.studies.registry import run_studies
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.studies.scale_consistency import study_scale_consistency

SMALL, OTHER = (smooth_picture(seed, 16, 24) for seed in (0, 1))


def larger(picture):
    return picture.repeat(2, 0).repeat(2, 1)


def evidence_of(finals, *ways):
    axes = [
        {"field": "ladder.start", "name": "way", "labels": list(ways)},
        {"field": "size", "name": "size", "labels": ["24", "48"]},
    ]
    members = [
        {"member": 2 * way + size, "index": [way, size]}
        for way in range(len(ways))
        for size in range(2)
    ]
    run = {"config": {}, "axes": axes, "members": members, "groups": []}
    return RunData(run, dict(enumerate(finals)))


def test_a_picture_is_like_the_one_that_it_was_made_from():
    finals = [SMALL, larger(SMALL), SMALL, larger(OTHER)]
    evidence = evidence_of(finals, "coarse to fine", "one size")
    found = study_scale_consistency(evidence)
    (table,) = found.tables
    assert table.rows[0] == ("coarse to fine", "48×32", "24×16", 0.0, 1.0)
    expected = scale_consistency(OTHER, SMALL)
    label, *_, distance, alike = table.rows[1]
    assert label == "one size"
    np.testing.assert_allclose(distance, 255 * expected.rms, rtol=5e-3)
    np.testing.assert_allclose(alike, expected.ssim, atol=5e-4)
    assert found.summary == (
        "Scaled down to the size of the preview, large results are most similar to it "
        "for “coarse to fine” (SSIM 1.00) and least for “one size” "
        f"({expected.ssim:.2f}).",
    )
    assert found.summary[0] in run_studies(evidence).summary


def test_there_is_nothing_to_say_of_one_size():
    evidence = evidence_of([SMALL, OTHER], "one size")
    assert study_scale_consistency(evidence) == StudyResult()
    axes = [{"field": "seeds", "name": "seed", "labels": ["0", "1"]}]
    members = [{"member": m, "index": [m]} for m in range(2)]
    run = {"axes": axes, "members": members}
    assert (
        study_scale_consistency(RunData(run, {0: SMALL, 1: larger(SMALL)}))
        == StudyResult()
    )
