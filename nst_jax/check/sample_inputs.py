"""Synthetic images on which a term is checked, and the result of a check."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.losses import Term, View
from nst_jax.losses.base import Target, total
from nst_jax.models.layers import smallest_side
from nst_jax.models.numerics import Numerics
from nst_jax.models.vgg import Network

OK, REMARK, FAILED = "ok", "remark", "FAILED"


class CheckResult(NamedTuple):
    """Result of one check.

    Attributes:
      verdict: `OK`, `FAILED`, or `REMARK` for something that may be intended.
      text: the measured values, and the remedy of a failure.
    """

    verdict: str
    text: str


#: Height and width of the images, which reach every layer.
SIZE = (32, 40)
#: Height and width that are odd at some of the network's poolings.
ODD_SIZE = (17, 23)


def sample_image(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return waves in random directions with a 1/f spectrum: float64 [H, W, 3].

    A seed gives the same image at any size, with its own mean and contrast in each
    channel. Some values leave [0, 1], as a canvas may.
    """
    rng = np.random.default_rng(seed)
    y, x = ((np.arange(side) + 0.5) / side for side in size)
    waves = np.zeros((*size, 3))
    for channel in range(3):
        for frequency in range(1, 13):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            turns = frequency * (np.sin(angle) * y[:, None] + np.cos(angle) * x[None])
            waves[..., channel] += np.sin(2 * np.pi * turns + phase) / frequency
    mean, contrast = rng.uniform((0.3, 0.15), (0.7, 0.3), (3, 2)).T
    return mean[None, None] + contrast[None, None] * waves


@dataclasses.dataclass(frozen=True)
class SampleInputs:
    """A term and the network that computes its features.

    Attributes:
      term: the term with weight 1.
      network: None for a term without layers.
    """

    term: Term
    network: Network | None

    @classmethod
    def from_term(cls, term: Term, network: Network | None) -> "SampleInputs":
        """Return the inputs of a term of any weight."""
        return cls(dataclasses.replace(term, weight=1.0), network)

    @property
    def odd_size(self) -> tuple[int, int]:
        """`ODD_SIZE`, or the smallest such size that reaches the term's layers."""
        side = smallest_side(self.term.layers) if self.term.layers else 1
        return ODD_SIZE if side <= ODD_SIZE[0] else (side + 1, side + 7)

    def view(self, image: np.ndarray) -> View:
        """Return the view of an image [H, W, 3] in the widest enabled dtype."""
        array = jnp.asarray(image, jnp.result_type(float))
        if self.network is None:
            return View(array, {})
        dtype: Any = str(array.dtype)
        network = self.network.with_options(numerics=Numerics(feature_dtype=dtype))
        return View(array, _features(network, array, self.term.layers))

    def views(self, count: int, size: tuple[int, int] = SIZE) -> list[View]:
        """Return views of the first `count` sample images."""
        return [self.view(sample_image(seed, size)) for seed in range(count)]

    def canvas_and_target(self, size: tuple[int, int] = SIZE) -> tuple[View, Target]:
        """Return the view of a canvas, and the target from two other images."""
        canvas, content, style = self.views(3, size)
        return canvas, compute_target(self.term, content, [style])


_features = jax.jit(Network.__call__, static_argnums=2)


@jax.jit
def compute_target(term: Term, content: View, styles: Sequence[View]) -> Target:
    """Return the term's target, with all leaves traced."""
    return term.target(content, styles)


def weighted_loss(term: Term, view: View, target: Target) -> jax.Array:
    """Return the weighted sum of a term's parts, as in an objective."""
    return term.weight * total(term.parts(view, target).values())


def loss_and_gradient(term: Term, view: View, target: Target) -> tuple[jax.Array, Any]:
    """Return the loss, and its gradient in the image and in each layer's features."""

    def loss(arrays: Any) -> jax.Array:
        image, features = arrays
        return weighted_loss(
            term, view._replace(image=image, features=features), target
        )

    return jax.value_and_grad(loss)((view.image, view.features))


def is_finite(tree: Any) -> bool:
    """Return whether all numbers of a tree are finite."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def relative_difference(tree: Any, reference: Any) -> float:
    """Return the largest difference of two trees, relative to each leaf's maximum."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(reference), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
        if largest:
            worst = max(worst, float(np.abs(a - b).max() / largest))
    return worst
