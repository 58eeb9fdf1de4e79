"""Whether a loss term does what the optimisation presumes of it."""

from nst_jax.check.check import check as check
from nst_jax.check.result import Line as Line
