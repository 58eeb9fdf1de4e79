"""What a run says in numbers and sentences, from what it has left.

Which questions are asked follows from the axes: every axis moves pictures by some
distance; seeds part coarsely or in grain, by so much, and with the style; solvers need
so many steps for one loss; sizes cost so much time, and large pictures are like small
ones or not; an axis of execution shows what
arithmetic does; films flicker. How good the pictures are is asked where the config
wants it.
"""

from nst_jax.studies.axis_effects import distances, seeds, sizes, solvers
from nst_jax.studies.execution import execution
from nst_jax.studies.flicker import films
from nst_jax.studies.quality import merits
from nst_jax.studies.results import RunData, StudyResult
from nst_jax.studies.scale_consistency import scales
from nst_jax.studies.seed_dispersion import dispersed
from nst_jax.studies.stability import stability

QUESTIONS = (
    *(execution, films, dispersed, stability, merits),
    *(distances, seeds, solvers, sizes, scales),
)


def findings(evidence: RunData) -> StudyResult:
    """All that can be said of a run, also of one that is not finished."""
    return sum((question(evidence) for question in QUESTIONS), StudyResult())
