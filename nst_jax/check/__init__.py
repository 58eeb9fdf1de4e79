"""Checks of the assumptions that the optimisation makes about a loss term."""

from nst_jax.check.check import check as check
from nst_jax.check.sample_inputs import CheckResult as CheckResult
