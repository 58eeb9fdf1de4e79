"""Solvers that follow the gradient in the unit it comes in: Adam, and descent."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record, static
from nst_jax.optim.solvers.base import check_choice, check_positive, norm
from nst_jax.optim.solvers.optax_adapter import OptaxSolver, OptaxState, replaced

SCHEDULES = ("constant", "exponential", "cosine")


class _FirstOrder(OptaxSolver):
    """A solver whose learning rate follows a schedule."""

    learning_rate: float
    decay_rate: float
    decay_steps: int
    schedule: str
    clip: bool

    def _rates(self) -> optax.Schedule:
        if self.schedule == "exponential":
            # optax.exponential_decay asks whether the rate is 0: not of a leaf.
            return lambda step: (
                self.learning_rate * self.decay_rate ** (step / self.decay_steps)
            )
        if self.schedule == "cosine":
            return optax.cosine_decay_schedule(self.learning_rate, self.decay_steps)
        return optax.constant_schedule(self.learning_rate)

    def warm_start(self, coarse: OptaxState, state: OptaxState) -> OptaxState:
        """Adam's moments and their count, resized and in the new gradient's unit.

        Without them it begins with steps of full length in every pixel, a burst of
        noise. Bilinear, so that a second moment stays positive. Where there was no
        gradient there is nothing to keep. The learning rate's schedule begins anew.
        """
        shape, before = state.gradient.shape, _rms(coarse.gradient)
        known = before > 0
        gain = _rms(state.gradient) / jnp.where(known, before, 1)

        def kept(old: Any) -> Any:
            mu, nu = (jax.image.resize(x, shape, "linear") for x in (old.mu, old.nu))
            return optax.ScaleByAdamState(old.count, gain * mu, gain**2 * nu)

        found = replaced(state.inner, coarse.inner, optax.ScaleByAdamState, kept)
        inner = jax.tree.map(lambda x, y: jnp.where(known, x, y), found, state.inner)
        return state._replace(inner=inner)


@record
class Adam(_FirstOrder):
    """Adam (Kingma & Ba 2015), by optax.

    Attributes:
      learning_rate: in [0, 1] picture units; a tool that works in 0–255 has one
        255 times as large. A leaf, as are the next four.
      b1, b2, eps: the decay of both moments, and what keeps their quotient finite.
      decay_rate: see `schedule`.
      decay_steps: see `schedule`.
      schedule: of the learning rate: "constant"; "exponential", times
        `decay_rate` every `decay_steps`; "cosine", down to 0 at `decay_steps`.
      clip: project the canvas onto [0, 1] after every step.
    """

    learning_rate: float = 0.02
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    decay_rate: float = 0.96
    decay_steps: int = static(default=100)
    schedule: str = static(default="constant")
    clip: bool = static(default=True)

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate", "eps", "decay_rate", "decay_steps")
        for name in ("b1", "b2"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value < 1:
                raise RequestError(
                    f"solver.{name} must be at least 0 and below 1, got {value}"
                )
        check_choice("schedule", self.schedule, SCHEDULES)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(
            optax.adam(self._rates(), self.b1, self.b2, self.eps)
        )


@record
class SGD(_FirstOrder):
    """Gradient descent, by optax; the defaults are those of Keras' example.

    Its rate goes with the unit of the loss, and with that of the picture twice: for a
    picture X = 255 x, the step −η ∂L/∂X is −η/255² ∂L/∂x in x. Keras' 100 is 100/255².

    Attributes:
      learning_rate: in [0, 1] picture units. A leaf, as is the next.
      decay_rate: see `schedule`.
      decay_steps: see `schedule`.
      schedule: as of `Adam`; "exponential" is smooth, η · rate^(step/steps).
      clip: project the canvas onto [0, 1] after every step.
    """

    learning_rate: float = 100 / 255**2
    decay_rate: float = 0.96
    decay_steps: int = static(default=100)
    schedule: str = static(default="exponential")
    clip: bool = static(default=False)

    def __post_init__(self) -> None:
        check_positive(self, "learning_rate", "decay_rate", "decay_steps")
        check_choice("schedule", self.schedule, SCHEDULES)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(optax.sgd(self._rates()))


def _rms(x: jax.Array) -> jax.Array:
    return norm(x) / x.size**0.5
