"""The optimisation problem of one image."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture, check_sequence
from nst_jax.core.pytree import record, static
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import Range
from nst_jax.losses import Objective, Regions
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import Parametrisation, Pixels
from nst_jax.optim.solvers import SOLVERS, Parts, Solver, as_solver, check_solver
from nst_jax.optim.tiling import Tiling


class FixedPixels(NamedTuple):
    """Pixels that the optimisation does not change.

    Attributes:
      mask: bool [H, W, 1], True where a pixel is fixed.
      picture: [H, W, 3], the values of the fixed pixels.
    """

    mask: ArrayLike
    picture: ArrayLike

    def __repr__(self) -> str:
        return short_repr(self)


class CoarseBlend(NamedTuple):
    """Images that are mixed into a start from a coarser stage.

    Attributes:
      picture: [H, W, 3].
      share: its share, from 0 to 1.
      details: [H, W, 3], added to the mixture; 0 for none.
    """

    picture: ArrayLike
    share: float | jax.Array
    details: ArrayLike = 0.0

    def __repr__(self) -> str:
        return short_repr(self)


@record
class Problem:
    """The arguments of a compiled optimisation, except the canvas.

    Attributes:
      network: computes the features; its weights are leaves.
      objective: sum of loss terms; their weights are leaves.
      targets: one for each term, from `compute_targets`.
      solver: its numbers are leaves; an optax transformation is converted.
      tolerance: gradient norm at which the optimisation stops; by default it stops
        only where the gradient is exactly zero.
      averaging: decay of the exponential mean of all canvases, in [0, 1). The mean is
        the result; 0 returns the last canvas. Losses are those of the last canvas.
      fixed_pixels: pixels that keep their values bit for bit; None if there are none.
      coarse_blend: image to mix into a start from a coarser stage; None for none.
      tiling: evaluation in tiles; None for the whole canvas at once.
      parametrisation: map from the optimised variable to the canvas.
    """

    network: Network
    objective: Objective
    targets: tuple[Any, ...]
    solver: Solver
    tolerance: float | jax.Array = 0.0
    averaging: float | jax.Array = 0.0
    fixed_pixels: FixedPixels | None = None
    coarse_blend: CoarseBlend | None = None
    tiling: Tiling | None = None
    parametrisation: Parametrisation = static(default=Pixels())

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", as_solver(self.solver))

    @classmethod
    def from_images(
        cls,
        network: Network,
        objective: Objective,
        content: ArrayLike,
        styles: Sequence[ArrayLike],
        solver: Solver | optax.GradientTransformation,
        *,
        regions: Regions | None = None,
        **options: Any,
    ) -> "Problem":
        """Return the problem with targets from a content image and style images.

        Args:
          network: VGG-19.
          objective: sum of at least one loss term.
          content: [H, W, 3], floats in [0, 1], uint8 or uint16.
          styles: images [h, w, 3] of any sizes, with the same types and ranges.
          solver: a solver or an optax transformation.
          regions: corresponding regions of the content and the styles.
          options: further fields of the problem.

        Raises:
          RequestError: an argument has the wrong type, shape or range; an image holds
            NaN; a term cannot use the images; or `solver` clips to [0, 1] and the
            optimised variable is not the pixels.
        """
        for name, value, kind in (
            ("network", network, Network),
            ("objective", objective, Objective),
        ):
            if not isinstance(value, kind):
                raise RequestError(
                    f"{name} must be a nst_jax.{kind.__name__}, got "
                    f"{type(value).__name__}"
                )
        for name, below in (("tolerance", math.inf), ("averaging", 1.0)):
            fault = Range(0, below=below).fault(name, options.get(name, 0.0))
            if fault is not None:
                raise RequestError(fault)
        solver = as_solver(solver)
        if type(solver) not in SOLVERS.values():
            check_solver(solver)
        parametrisation = options.get("parametrisation", Pixels())
        if getattr(solver, "clip", False) and not isinstance(parametrisation, Pixels):
            raise RequestError(
                "solver.clip=True requires parametrisation Pixels(), got "
                f"{parametrisation}"
            )
        if not objective.terms:
            raise RequestError("objective must have at least one term, got none")
        check_sequence(styles, "styles")
        targets = compute_targets(
            network,
            objective,
            as_picture(content, "content"),
            [as_picture(style, f"styles[{i}]") for i, style in enumerate(styles)],
            regions,
        )
        return cls(network, objective, targets, solver, **options)

    def canvas(self, variable: jax.Array) -> jax.Array:
        """Return the canvas [H, W, 3] of an optimised variable."""
        return self.restore_fixed_pixels(self.parametrisation.decode(variable))

    def restore_fixed_pixels(self, canvas: jax.Array) -> jax.Array:
        """Return a canvas [H, W, 3] whose fixed pixels have their fixed values."""
        if self.fixed_pixels is None:
            return canvas
        return jnp.where(self.fixed_pixels.mask, self.fixed_pixels.picture, canvas)

    def match(self, variable: jax.Array) -> tuple[Any, ...]:
        """Return `Objective.match` at an optimised variable."""
        return self.objective.match(self.network, self.canvas(variable), self.targets)

    def evaluate(
        self,
        variable: jax.Array,
        step: jax.Array | int = 0,
        matches: Sequence[Any] | None = None,
    ) -> tuple[tuple[jax.Array, Parts], jax.Array]:
        """Return ((loss, parts), gradient) at an optimised variable.

        Args:
          variable: the optimised variable.
          step: number of steps made before; it seeds stochastic terms.
          matches: see `match`; None for those of this variable.
        """
        if self.tiling is not None:
            canvas, to_variable = jax.vjp(self.canvas, variable)
            loss_and_parts, gradient = self.tiling.evaluate(
                self.network, self.objective, canvas, self.targets, step
            )
            return loss_and_parts, to_variable(gradient)[0]

        def loss(variable: jax.Array) -> tuple[jax.Array, Parts]:
            canvas = self.canvas(variable)
            return self.objective(self.network, canvas, self.targets, step, matches)

        return jax.value_and_grad(loss, has_aux=True)(variable)


def compute_targets(
    network: Network,
    objective: Objective,
    content: ArrayLike,
    styles: Sequence[ArrayLike],
    regions: Regions | None = None,
) -> tuple[Any, ...]:
    """Return one target for each term; the images [H, W, 3] may leave [0, 1]."""
    arguments = objective, network, content, tuple(styles), regions
    return network.numerics.call(Objective.targets, *arguments)
