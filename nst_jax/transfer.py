"""The optimisation of one picture."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from nst_jax.errors import RequestError
from nst_jax.losses import Objective
from nst_jax.pytree import record
from nst_jax.solvers import Parts, Report, Solver, ValueAndGrad
from nst_jax.vgg import Network


@record
class Problem:
    """Everything that a transfer's compiled program takes, but for the canvas.

    Attributes:
      network: VGG-19; its weights are leaves.
      objective: the sum of terms; their weights are leaves.
      targets: one a term, from `objective.targets`.
      solver: its numbers are leaves.
      tolerance: a canvas whose gradient norm is not above it is left as it is.
        The default stops for nothing but a gradient that is exactly zero.
    """

    network: Network
    objective: Objective
    targets: tuple[Any, ...]
    solver: Solver
    tolerance: float | jax.Array = 0.0

    @classmethod
    def of(
        cls,
        network: Network,
        objective: Objective,
        content: ArrayLike,
        styles: Sequence[ArrayLike],
        solver: Solver,
        *,
        tolerance: float = 0.0,
    ) -> "Problem":
        """The problem whose targets come from a content and style pictures.

        Args:
          content: [H, W, 3] in [0, 1].
          styles: pictures [h, w, 3], each of its own size.

        Raises:
          RequestError: a picture has another shape, or a term cannot use them.
        """
        for name, picture in (("content", content), *(("style", s) for s in styles)):
            if jnp.ndim(picture) != 3 or jnp.shape(picture)[2] != 3:
                raise RequestError(
                    f"{name} must be a picture [H, W, 3], got an array of shape "
                    f"{list(jnp.shape(picture))}"
                )
        options = tuple(network.numerics.compiler_options.items())
        targets = _targets(options)(objective, network, content, tuple(styles))
        return cls(network, objective, targets, solver, tolerance)

    def value_and_grad(self) -> ValueAndGrad:
        """canvas [H, W, 3] -> ((loss, parts), gradient [H, W, 3])."""

        def loss(canvas: jax.Array) -> tuple[jax.Array, Parts]:
            return self.objective(self.network, canvas, self.targets)

        return jax.value_and_grad(loss, has_aux=True)


@functools.cache
def _targets(options: tuple[tuple[str, bool | int], ...]) -> Callable[..., tuple]:
    """`Objective.targets`, compiled once a shape however many problems are posed."""
    return jax.jit(Objective.targets, compiler_options=dict(options))


class State(NamedTuple):
    """A transfer under way: what a checkpoint holds."""

    canvas: jax.Array
    solver: Any
    report: Report


def start(
    problem: Problem, canvas: jax.Array, *, fun: ValueAndGrad | None = None
) -> State:
    """The state at a starting canvas [H, W, 3]: one evaluation, no step.

    Args:
      fun: how to evaluate; the problem's own `value_and_grad` if None.
    """
    with jax.default_matmul_precision(problem.network.numerics.precision):
        inner, report = problem.solver.init(fun or problem.value_and_grad(), canvas)
    return State(canvas, inner, report)


def advance(
    problem: Problem,
    state: State,
    steps: jax.Array | int,
    *,
    fun: ValueAndGrad | None = None,
) -> State:
    """`steps` steps further.

    The number is traced: one compiled program serves chunks of any length, so
    that snapshots may lie where they like and the last chunk may be short.

    Args:
      fun: how to evaluate; the problem's own `value_and_grad` if None.
    """
    fun = fun or problem.value_and_grad()

    def step(_: jax.Array, state: State) -> State:
        stepped = State(*problem.solver.step(fun, state.canvas, state.solver))
        # False for NaN too: a canvas that has none is not led further astray. A
        # select, not a conditional: under vmap that would be one all the same.
        moving = state.report.grad_norm > problem.tolerance
        return jax.tree.map(
            lambda new, old: jnp.where(moving, new, old), stepped, state
        )

    with jax.default_matmul_precision(problem.network.numerics.precision):
        return jax.lax.fori_loop(0, steps, step, state)
