"""All studies of a run. Each returns an empty result where it does not apply."""

from nst_jax.studies.axis_distances import study_axis_distances
from nst_jax.studies.axis_effects import (
    study_scale_consistency,
    study_seed_differences,
    study_solvers,
    study_step_times,
)
from nst_jax.studies.dispersion_by_step import study_dispersion_by_step
from nst_jax.studies.execution import study_execution
from nst_jax.studies.flicker import study_flicker
from nst_jax.studies.gradient_shares import study_gradients
from nst_jax.studies.quality import study_quality
from nst_jax.studies.results import StudyResult
from nst_jax.studies.run_data import RunData
from nst_jax.studies.seed_dispersion import study_seed_dispersion
from nst_jax.studies.stability import study_stability

#: In the order in which their results are shown.
STUDIES = (
    study_execution,
    study_flicker,
    study_seed_dispersion,
    study_dispersion_by_step,
    study_stability,
    study_quality,
    study_gradients,
    study_axis_distances,
    study_seed_differences,
    study_solvers,
    study_step_times,
    study_scale_consistency,
)


def run_studies(run_data: RunData) -> StudyResult:
    """Return the results of all studies of a run, finished or not."""
    return sum((study(run_data) for study in STUDIES), StudyResult())
