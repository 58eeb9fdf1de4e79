"""Losses whose layers count alike, however large their features are.

The L1 norm of a layer's gradient depends on the size of its features, and across
VGG's layers that differs a hundredfold. Two remedies:

* "gradient": the gradient of a layer's own loss in its features is divided by its L1
  norm before it goes further down (jcjohnson/neural-style's `-normalize_gradients`,
  andersbll/neural_artistic_style). What comes of it is the gradient of no function:
  a line search looks for a descent that need not be there, and L-BFGS gathers
  curvature of nothing. It is for Adam and for gradient descent.
* "self_scaled": Σd²/Σ|d| in place of Σd² (crowsonkb/style-transfer-pytorch,
  `ScaledMSELoss`). Its gradient in d is of one size however large d is, with an L1
  norm of 1 where all |d| are equal. A loss like others, for every solver, but with a
  kink where it is 0.

The norm is raised to the power of a strength: 1 as the tools have it, 0 for the plain
loss, and between them a layer's say goes smoothly from one to the other. A factor
that a tool's convention multiplies its loss by goes the same way: at 1 it is gone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

#: What norms are kept from 0 by, as the tools have it.
_LEAST = 1e-8


def normalised_gradient(
    loss: Callable[[Any], jax.Array], features: Any, strength: float | jax.Array = 1.0
) -> jax.Array:
    """The loss of features, with gradient g / (‖g‖₁ + 1e-8)^strength in them.

    What the result is multiplied by, weights too, scales that gradient as any other:
    it is the loss's own gradient that is normalised, not what arrives from above.

    Args:
      loss: from features to a scalar.
      features: a pytree of arrays; ‖g‖₁ is over all of them.
      strength: from 0 to 1.
    """
    here = stop_gradient(features)
    value, slope = jax.value_and_grad(loss)(here)
    norm = sum(abs(leaf.astype(value.dtype)).sum() for leaf in jax.tree.leaves(slope))
    scale = stop_gradient((norm + _LEAST) ** -strength)
    # Of value 0 and of the gradient that is wanted.
    levers = jax.tree.map(
        lambda g, f, f0: (scale * stop_gradient(g) * (f - f0)).sum(),
        slope,
        features,
        here,
    )
    return value + sum(jax.tree.leaves(levers))


def self_scaled(difference: jax.Array, strength: float | jax.Array = 1.0) -> jax.Array:
    """Σ d² / (Σ |d| + 1e-8)^strength, a scalar, of differences of any shape."""
    # Not jnp.abs: its gradient at 0 is 1.
    norm = (difference * jnp.sign(difference)).sum()
    return (difference**2).sum() / (norm + _LEAST) ** strength
