"""What a run says in numbers and sentences, from what it has left.

Which questions are asked follows from the axes: every axis moves pictures by some
distance; seeds part coarsely or in grain, by so much, and with the style; solvers need
so many steps for one loss; sizes cost so much time, and large pictures are like small
ones or not; an axis of execution shows what
arithmetic does; films flicker. How good the pictures are is asked where the config
wants it.
"""

from nst_jax.studies.axis_effects import (
    study_axis_distances,
    study_seed_differences,
    study_solvers,
    study_step_times,
)
from nst_jax.studies.execution import study_execution
from nst_jax.studies.flicker import study_flicker
from nst_jax.studies.quality import study_quality
from nst_jax.studies.results import RunData, StudyResult
from nst_jax.studies.scale_consistency import study_scale_consistency
from nst_jax.studies.seed_dispersion import study_seed_dispersion
from nst_jax.studies.stability import study_stability

QUESTIONS = (
    *(
        study_execution,
        study_flicker,
        study_seed_dispersion,
        study_stability,
        study_quality,
    ),
    *(
        study_axis_distances,
        study_seed_differences,
        study_solvers,
        study_step_times,
        study_scale_consistency,
    ),
)


def run_studies(evidence: RunData) -> StudyResult:
    """All that can be said of a run, also of one that is not finished."""
    return sum((question(evidence) for question in QUESTIONS), StudyResult())
