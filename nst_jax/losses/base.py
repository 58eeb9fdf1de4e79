"""Loss terms, and the objective that sums them.

A term computes a target from the content and style images once, and the loss of the
canvas against that target at every step. To add a term, subclass `Term` in your own
file:

    @nst_jax.term
    class MeanColour(nst_jax.Term):
        weight: float = 1.0
        name: str = nst_jax.static(default="mean_colour")

        def target(self, content, styles):
            return styles[0].image.mean((0, 1))

        def __call__(self, view, target):
            return ((view.image.mean((0, 1)) - target) ** 2).sum()
"""

import dataclasses
import functools
import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record as term
from nst_jax.core.pytree import static as static
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import Range, check_choice, check_fields
from nst_jax.losses.scaling import normalised_gradient, relative, self_scaled
from nst_jax.models.layers import canonical_layers

Target = Any
_LEAF_RANGE = Range(at_least=0, below=math.inf)
#: Values of `LayerTerm.normalise` that scale the squared error itself.
SCALINGS = ("target", "self_scaled")


class View(NamedTuple):
    """An image as the terms see it.

    Attributes:
      image: [H, W, 3], sRGB; a canvas may leave [0, 1] during optimisation.
      features: canonical layer name -> [h, w, c], for the layers of all terms.
      guides: canonical layer name -> [R, h, w] in [0, 1], the share of each position
        in each of R regions; empty without regions. A canvas has none: its guides are
        those of the content image, and stored in the targets.
      step: number of steps so far; stochastic terms fold it into their random key.
      match: the result of the term's `match`, for a canvas; None for a term without.
    """

    image: jax.Array
    features: Mapping[str, jax.Array]
    guides: Mapping[str, jax.Array] = {}  # Never written to.
    step: jax.Array | int = 0
    match: Any = None

    def __repr__(self) -> str:
        return short_repr(self)


@term
class Term:
    """One summand of an objective: a frozen dataclass that is a pytree.

    Fields are leaves: numbers that may differ between the members of a batch. Fields
    declared with `static` select the program: layers, switches, names.

    Attributes:
      weight: factor of the term in the objective; a leaf.
      layers: layers whose features the term needs, by any name that
        `layers.canonical_layer` accepts.
      name: name of the term in the metrics.
    """

    weight: float = 1.0
    layers: tuple[str, ...] = static(default=())
    name: str = static(default="term")

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", canonical_layers(self.layers))
        for field in dataclasses.fields(self):
            if not field.metadata.get("static"):
                value = getattr(self, field.name)
                object.__setattr__(self, field.name, self._as_leaf(field.name, value))
        check_fields(self, f"{self.name}.")

    @property
    def is_stochastic(self) -> bool:
        """True if the loss is random at each step, which L-BFGS cannot minimise."""
        return False

    def target(self, content: View, styles: Sequence[View]) -> Target:
        """Return the target of the canvas, computed once: any pytree.

        Args:
          content: the content image.
          styles: the style images, of any sizes.
        """
        return None

    @property
    def matching_interval(self) -> int:
        """Number of steps between two calls of `match`; 0 for one at the start."""
        return 0

    def match(self, view: View, target: Target) -> Any:
        """Return the part of the target that depends on the canvas; None for none.

        It stays fixed between two calls, and no gradient passes through it. The term
        finds it in `view.match` when its loss is computed.
        """
        return None

    @property
    def is_matching(self) -> bool:
        """True if the term overrides `match`."""
        return type(self).match is not Term.match

    def __call__(self, view: View, target: Target) -> jax.Array:
        """Return the loss of a canvas against the target: an unweighted scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        """Return the summands of `__call__`, each under its name in the metrics."""
        return {self.name: self(view, target)}

    def _as_leaf(self, field: str, value: Any) -> Any:
        """Convert numbers to floats and sequences to tuples; keep arrays."""
        if isinstance(value, tuple | list):
            return tuple(self._as_leaf(field, item) for item in value)
        if value is None or isinstance(value, str):
            raise RequestError(
                f"{self.name}.{field} must be a number, got {value!r}; declare a "
                "switch with nst_jax.static"
            )
        if not isinstance(value, numbers.Real):
            return value
        if fault := _LEAF_RANGE.fault(f"{self.name}.{field}", float(value)):
            raise RequestError(fault)
        return float(value)


def total(summands: Iterable[jax.Array]) -> jax.Array:
    """Return the sum in the summands' dtype."""
    return functools.reduce(operator.add, summands)


@term
class LayerTerm(Term):
    """A sum of losses over layers, each with its own curve.

    A subclass defines `target` (a tuple, one entry per layer) and `layer_loss`, or
    overrides `parts`. `factor` scales a layer by a tool's convention.

    Attributes:
      layer_weights: one per layer, leaves; empty for 1 each.
      normalise: "", "target", "gradient" or "self_scaled": scale each layer's loss so
        that its weight alone decides its influence, whatever the size of its features;
        see `losses.scaling`, also for the solvers that suit it. Some terms lack some.
      strength: exponent of the normalisation, from 0 (none) to 1; a leaf.
    """

    layer_weights: tuple[float, ...] = ()
    normalise: str = static(default="")
    strength: Annotated[float, Range(0, 1)] = 1.0

    #: Allowed values of `normalise`; those of `SCALINGS` need `squared_error`.
    normalisations: ClassVar[tuple[str, ...]] = ("", "gradient")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise RequestError(f"{self.name}.layers is empty; name at least one layer")
        if self.layer_weights and len(self.layer_weights) != len(self.sites):
            raise RequestError(
                f"{self.name}.layer_weights has {len(self.layer_weights)} entries "
                f"for the {len(self.sites)} layers {self.sites}"
            )
        check_choice(f"{self.name}.normalise", self.normalise, self.normalisations)

    def __init_subclass__(cls) -> None:
        if "__call__" in vars(cls) and "parts" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} overrides __call__, which is the sum of its parts; "
                "override layer_loss or parts"
            )

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the entries of targets, layer weights and curves: the layers."""
        return self.layers

    def layer_loss(self, features: jax.Array, target: Target) -> jax.Array:
        """Return the loss of features [h, w, c] of one layer against its target."""
        raise NotImplementedError(f"{type(self).__name__} has no layer_loss")

    def factor(self, view: View, layer: str) -> float:
        """Return the factor of a layer's loss besides its weight."""
        return 1.0

    def squared_error(
        self, value: jax.Array, target: jax.Array, floor: float | jax.Array = 0.0
    ) -> jax.Array:
        """Return Σ (value − target)², scaled as `normalise` says.

        Args:
          value, target: arrays of the same shape.
          floor: least energy of a target that "target" divides by.
        """
        if self.normalise == "self_scaled":
            return self_scaled(value - target, self.strength)
        if self.normalise == "target":
            return relative(value - target, target, self.strength, floor)
        return ((value - target) ** 2).sum()

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        weights = self.layer_weights or (1.0,) * len(self.sites)
        return {
            f"{self.name}/{site}": weight * self._part(view, site, site_target)
            for site, weight, site_target in zip(
                self.sites, weights, target, strict=True
            )
        }

    def _part(self, view: View, site: str, target: Target) -> jax.Array:
        """Return the loss of one layer without its weight."""
        factor, features = self.factor(view, site), view.features[site]
        if self.normalise == "gradient":
            return normalised_gradient(
                lambda features: factor * self.layer_loss(features, target),
                features,
                self.strength,
            )
        if self.normalise in SCALINGS:  # Cancels the factor, as "gradient" does.
            factor = factor ** (1 - self.strength)
        return factor * self.layer_loss(features, target)

    def __call__(self, view: View, target: Target) -> jax.Array:
        return total(self.parts(view, target).values())


def check_term(name: str, term: Term) -> None:
    """Check that a term is a pytree with valid fields and numbers as leaves.

    Args:
      name: name of the term in messages.
      term: the term.

    Raises:
      RequestError: it is not.
    """
    if any(leaf is term for leaf in jax.tree.leaves(term)):
        raise RequestError(
            f"{name} is of {type(term).__name__}, which is no pytree: write "
            "@nst_jax.term above the class"
        )
    check_fields(term, f"{name}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(term):
        if not isinstance(leaf, int | float | np.ndarray | jax.Array):
            raise RequestError(
                f"{name}{jax.tree_util.keystr(path)} must be a number, got {leaf!r}"
            )
