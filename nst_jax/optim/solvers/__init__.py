"""Solvers: pairs of pure functions over one canvas.

    state, report = solver.init(fun, canvas)
    canvas, state, report = solver.step(fun, canvas, state)

`fun` maps a canvas to `((loss, parts), gradient)`. A solver is a pytree. Its numbers
are leaves, so that one compiled program serves many settings. History size, line search
and schedule shape the program and are static.
"""

from nst_jax.core.pytree import record as record
from nst_jax.core.pytree import static as static
from nst_jax.optim.solvers.base import Parts as Parts
from nst_jax.optim.solvers.base import Report as Report
from nst_jax.optim.solvers.base import Solver as Solver
from nst_jax.optim.solvers.base import ValueAndGrad as ValueAndGrad
from nst_jax.optim.solvers.base import check_solver as check_solver
from nst_jax.optim.solvers.base import initial_report as initial_report
from nst_jax.optim.solvers.base import norm as norm
from nst_jax.optim.solvers.first_order import SCHEDULES as SCHEDULES
from nst_jax.optim.solvers.first_order import SGD as SGD
from nst_jax.optim.solvers.first_order import Adam as Adam
from nst_jax.optim.solvers.lbfgs import LBFGS as LBFGS
from nst_jax.optim.solvers.lbfgs import LINE_SEARCHES as LINE_SEARCHES
from nst_jax.optim.solvers.lbfgs import FixedLBFGS as FixedLBFGS
from nst_jax.optim.solvers.lbfgs import OptaxLBFGS as OptaxLBFGS
from nst_jax.optim.solvers.optax_adapter import OptaxSolver as OptaxSolver
from nst_jax.optim.solvers.optax_adapter import Transformation as Transformation
from nst_jax.optim.solvers.optax_adapter import as_solver as as_solver

#: Names of solvers in a config.
SOLVERS = {
    "lbfgs": LBFGS,
    "lbfgs_fixed": FixedLBFGS,
    "lbfgs_optax": OptaxLBFGS,
    "adam": Adam,
    "sgd": SGD,
}
