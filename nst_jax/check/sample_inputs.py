"""The pictures that a term is tried on, and what the network sees in them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.losses import Term, View
from nst_jax.losses.base import Target, total
from nst_jax.models.layers import smallest_side
from nst_jax.models.numerics import Numerics
from nst_jax.models.vgg import Network

#: Height and width of the pictures, which reach every layer.
SIZE = (32, 40)
#: Sides of which the network's poolings drop a row or a column.
ODD = (17, 23)


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Waves in all directions, fainter the finer they are: float64 [H, W, 3].

    The same picture at any size, and each of its own mean and contrast in each channel;
    some of it leaves [0, 1], as a canvas may.
    """
    rng = np.random.default_rng(seed)
    y, x = ((np.arange(side) + 0.5) / side for side in size)
    found = np.zeros((*size, 3))
    for channel in range(3):
        for frequency in range(1, 13):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            down, along = frequency * np.sin(angle), frequency * np.cos(angle)
            wave = down * y[:, None] + along * x[None]
            found[..., channel] += np.sin(2 * np.pi * wave + phase) / frequency
    mean, contrast = rng.uniform((0.3, 0.15), (0.7, 0.3), (3, 2)).T
    return mean[None, None] + contrast[None, None] * found


@dataclasses.dataclass(frozen=True)
class SampleInputs:
    """A term, and the network that it looks through.

    Attributes:
      term: of weight 1.
      network: None for a term without layers.
    """

    term: Term
    network: Network | None

    @classmethod
    def from_term(cls, term: Term, network: Network | None) -> "SampleInputs":
        """For a term of any weight."""
        return cls(dataclasses.replace(term, weight=1.0), network)

    @property
    def odd(self) -> tuple[int, int]:
        """`ODD`, or the least such size that reaches the term's layers."""
        side = smallest_side(self.term.layers) if self.term.layers else 1
        return (ODD[0], ODD[1]) if side <= ODD[0] else (side + 1, side + 7)

    def view(self, image: np.ndarray) -> View:
        """A picture [H, W, 3] as the term sees it, in the widest dtype enabled."""
        seen = jnp.asarray(image, jnp.result_type(float))
        if self.network is None:
            return View(seen, {})
        network = self.network.with_options(
            numerics=Numerics(feature_dtype=str(seen.dtype))
        )
        return View(seen, _features(network, seen, self.term.layers))

    def views(self, count: int, size: tuple[int, int] = SIZE) -> list[View]:
        """The first so many pictures, of a size."""
        return [self.view(picture(seed, size)) for seed in range(count)]


_features = jax.jit(Network.__call__, static_argnums=2)


@jax.jit
def target(term: Term, content: View, styles: Sequence[View]) -> Target:
    """The term's target; the program that takes it knows no leaf of the term."""
    return term.target(content, styles)


def loss(term: Term, view: View, target: Target) -> jax.Array:
    """What an objective makes of a term: its parts, added up and weighted."""
    return term.weight * total(term.parts(view, target).values())


def slope(term: Term, view: View, target: Target) -> tuple[jax.Array, Any]:
    """The loss, and its gradient in the picture and in each layer's features."""

    def of_seen(seen: Any) -> jax.Array:
        image, features = seen
        return loss(term, view._replace(image=image, features=features), target)

    return jax.value_and_grad(of_seen)((view.image, view.features))


def finite(tree: Any) -> bool:
    """Whether all of its numbers are."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def apart(tree: Any, other: Any) -> float:
    """The largest difference of two trees, leaf by leaf relative to the leaf's size."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
        if largest:
            worst = max(worst, float(np.abs(a - b).max() / largest))
    return worst
