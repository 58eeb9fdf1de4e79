"""First-order solvers: Adam and gradient descent."""

from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from nst_jax.core.pytree import record, static
from nst_jax.core.validation import Range
from nst_jax.optim.solvers.base import PositiveFloat, PositiveInt, norm
from nst_jax.optim.solvers.optax_adapter import OptaxSolver, OptaxState, with_substates

Schedule = Literal["constant", "exponential", "cosine"]
SCHEDULES = get_args(Schedule)
#: A decay rate of Adam's moments.
_DecayRate = Annotated[float, Range(at_least=0, below=1)]


class _FirstOrder(OptaxSolver):
    """A solver whose learning rate follows a schedule."""

    learning_rate: PositiveFloat
    decay_rate: PositiveFloat
    decay_steps: PositiveInt
    schedule: Schedule
    clip: bool

    def _schedule(self) -> optax.Schedule:
        if self.schedule == "exponential":
            # optax.exponential_decay compares the rate with 0, which a tracer cannot.
            return lambda step: (
                self.learning_rate * self.decay_rate ** (step / self.decay_steps)
            )
        if self.schedule == "cosine":
            return optax.cosine_decay_schedule(self.learning_rate, self.decay_steps)
        return optax.constant_schedule(self.learning_rate)

    def resize(self, coarse: OptaxState, state: OptaxState) -> OptaxState:
        """Return a state with Adam's moments and count from a coarser stage.

        Bilinear resizing keeps second moments positive. The gradient is one number, the
        root mean square of the coarse one.
        """
        shape = state.gradient.shape

        def resized(adam: Any) -> Any:
            mu, nu = (jax.image.resize(x, shape, "linear") for x in (adam.mu, adam.nu))
            return optax.ScaleByAdamState(adam.count, mu, nu)

        inner = with_substates(
            state.inner, coarse.inner, optax.ScaleByAdamState, resized
        )
        gradient = jnp.full_like(state.gradient, _rms(coarse.gradient))
        return state._replace(inner=inner, gradient=gradient)

    def warm_start(self, resized: OptaxState, state: OptaxState) -> OptaxState:
        """Return a state with the moments of `resize` in the unit of its gradient.

        Without them Adam begins with full steps in every pixel, which are a burst of
        noise. The learning rate schedule begins anew.
        """
        coarse_rms = _rms(resized.gradient)
        has_gradient = coarse_rms > 0
        gain = _rms(state.gradient) / jnp.where(has_gradient, coarse_rms, 1)

        def convert(adam: Any) -> Any:
            return optax.ScaleByAdamState(adam.count, gain * adam.mu, gain**2 * adam.nu)

        warm = with_substates(
            state.inner, resized.inner, optax.ScaleByAdamState, convert
        )
        inner = jax.tree.map(
            lambda x, y: jnp.where(has_gradient, x, y), warm, state.inner
        )
        return state._replace(inner=inner)


@record
class Adam(_FirstOrder):
    """Adam (Kingma & Ba 2015), by optax.

    Attributes:
      learning_rate: in [0, 1] image units: 1/255 of the rate of a tool that works in
        0–255. A leaf, as are the next four.
      b1, b2: decay rates of the first and second moment.
      eps: added to the root of the second moment.
      decay_rate, decay_steps: see `schedule`.
      schedule: of the learning rate: "constant"; "exponential", multiplied by
        `decay_rate` every `decay_steps`; or "cosine", to 0 at `decay_steps`.
      clip: whether to clip the canvas to [0, 1] after every step.
    """

    learning_rate: PositiveFloat = 0.02
    b1: _DecayRate = 0.9
    b2: _DecayRate = 0.999
    eps: PositiveFloat = 1e-8
    decay_rate: PositiveFloat = 0.96
    decay_steps: PositiveInt = static(default=100)
    schedule: Schedule = static(default="constant")
    clip: bool = static(default=True)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(
            optax.adam(self._schedule(), self.b1, self.b2, self.eps)
        )


@record
class SGD(_FirstOrder):
    """Gradient descent, by optax, with the defaults of the Keras example.

    The learning rate depends on the unit of the loss, and on the square of the unit of
    the image: for X = 255 x, the step −η ∂L/∂X in X is −η/255² ∂L/∂x in x. Keras' rate
    of 100 is 100/255² here.

    Attributes:
      learning_rate: in [0, 1] image units. A leaf, as is the next.
      decay_rate, decay_steps: see `schedule`.
      schedule: as of `Adam`; "exponential" is continuous, η · rate^(step/steps).
      clip: whether to clip the canvas to [0, 1] after every step.
    """

    learning_rate: PositiveFloat = 100 / 255**2
    decay_rate: PositiveFloat = 0.96
    decay_steps: PositiveInt = static(default=100)
    schedule: Schedule = static(default="exponential")
    clip: bool = static(default=False)

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(optax.sgd(self._schedule()))


def _rms(x: jax.Array) -> jax.Array:
    return norm(x) / x.size**0.5
