"""Normalisations that make layers count alike, whatever the size of their features.

The L1 norm of a layer's gradient grows with the layer's features, and differs a
hundredfold across VGG's layers. Three remedies:

* "target": Σd²/Στ², the squared error as a share of the target's energy. Its value is 1
  for a canvas without any response, so that one weight means the same for every layer,
  image, size and weight file. It is smooth and suits every solver.
* "gradient": divide the gradient of a layer's loss in its features by its L1 norm
  before backpropagating it (jcjohnson/neural-style's `-normalize_gradients`,
  andersbll/neural_artistic_style). The result is not the gradient of any function:
  line searches may fail and L-BFGS gathers wrong curvature. Use Adam or gradient
  descent.
* "self_scaled": Σd²/Σ|d| instead of Σd² (crowsonkb/style-transfer-pytorch,
  `ScaledMSELoss`). The size of its gradient in d is independent of the size of d, and
  its L1 norm is 1 if all |d| are equal. It suits every solver, but has a kink at 0.

The norm or energy is raised to the power of a strength: 1 in these tools, 0 for the
plain loss.
The factor of a tool's convention fades in the same way, and is gone at 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from nst_jax.losses.statistics import absolute

#: Added to norms to avoid a division by 0, as in the tools.
_EPSILON = 1e-8


def normalised_gradient(
    loss: Callable[[Any], jax.Array], features: Any, strength: float | jax.Array = 1.0
) -> jax.Array:
    """Return the loss of features, with the gradient g / (‖g‖₁ + 1e-8)^strength.

    Only the loss's own gradient g is normalised: factors of the result, such as
    weights, scale it as usual.

    Args:
      loss: maps features to a scalar.
      features: a pytree of arrays; ‖g‖₁ is over all of them.
      strength: from 0 to 1.
    """
    fixed = stop_gradient(features)
    value, gradient = jax.value_and_grad(loss)(fixed)
    leaves = jax.tree.leaves(gradient)
    norm = sum(abs(leaf.astype(value.dtype)).sum() for leaf in leaves)
    scale = stop_gradient((norm + _EPSILON) ** -strength)
    # Each has the value 0 and the normalised gradient.
    zeros = jax.tree.map(
        lambda g, f, f0: (scale * stop_gradient(g) * (f - f0)).sum(),
        gradient,
        features,
        fixed,
    )
    return value + sum(jax.tree.leaves(zeros))


def relative(
    difference: jax.Array,
    target: jax.Array,
    strength: float | jax.Array = 1.0,
    floor: float | jax.Array = 0.0,
) -> jax.Array:
    """Return Σ d² / (max(Σ τ², floor) + 1e-8)^strength of arrays of any shapes."""
    energy = jnp.maximum((target**2).sum(), floor)
    return (difference**2).sum() / (energy + _EPSILON) ** strength


def self_scaled(difference: jax.Array, strength: float | jax.Array = 1.0) -> jax.Array:
    """Return Σ d² / (Σ |d| + 1e-8)^strength, a scalar, of differences of any shape."""
    norm = absolute(difference).sum()
    return (difference**2).sum() / (norm + _EPSILON) ** strength
