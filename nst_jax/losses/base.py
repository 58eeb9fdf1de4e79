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
import itertools
import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record
from nst_jax.core.pytree import record as term
from nst_jax.core.pytree import static as static
from nst_jax.core.representation import short_repr
from nst_jax.core.validation import Range, check_choice, check_fields
from nst_jax.losses.guides import layer_guides
from nst_jax.losses.scaling import normalised_gradient, self_scaled
from nst_jax.models.layers import canonical_layers
from nst_jax.models.vgg import Network

Target = Any
_LEAF_RANGE = Range(at_least=0, below=math.inf)


class View(NamedTuple):
    """An image as the terms see it.

    Attributes:
      image: [H, W, 3], sRGB; a canvas may leave [0, 1] during optimisation.
      features: canonical layer name -> [h, w, c], for the layers of all terms.
      guides: canonical layer name -> [R, h, w] in [0, 1], the share of each position
        in each of R regions; empty without regions. A canvas has none: its guides are
        those of the content image, and stored in the targets.
      step: number of steps so far; stochastic terms fold it into their random key.
    """

    image: jax.Array
    features: Mapping[str, jax.Array]
    guides: Mapping[str, jax.Array] = {}  # Never written to.
    step: jax.Array | int = 0

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
      normalise: "", "gradient" or "self_scaled": scale each layer's loss so that its
        weight alone decides its influence, whatever the size of its features; see
        `losses.scaling`, also for the solvers that suit it. Some terms lack one.
      strength: exponent of the normalisation, from 0 (none) to 1; a leaf.
    """

    layer_weights: tuple[float, ...] = ()
    normalise: str = static(default="")
    strength: Annotated[float, Range(0, 1)] = 1.0

    #: Allowed values of `normalise`; "self_scaled" needs `sum_squares`.
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

    def sum_squares(self, difference: jax.Array) -> jax.Array:
        """Return Σ d², self-scaled if `normalise` asks for it."""
        if self.normalise == "self_scaled":
            return self_scaled(difference, self.strength)
        return (difference**2).sum()

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
        if self.normalise == "self_scaled":  # Cancels the factor, as "gradient" does.
            factor = factor ** (1 - self.strength)
        return factor * self.layer_loss(features, target)

    def __call__(self, view: View, target: Target) -> jax.Array:
        return total(self.parts(view, target).values())


@record
class Regions:
    """Regions of the content and style images; a pytree.

    Attributes:
      content: [R, H, W] in [0, 1], the share of each pixel in each region.
      styles: [R, h, w] for each style image.
      propagation: propagation to the layers, one of `guides.PROPAGATIONS`.
    """

    content: jax.Array | np.ndarray
    styles: tuple[jax.Array | np.ndarray, ...]
    propagation: str = static(default="simple")


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Number repeated names: a second `style` becomes `style_2`."""
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}_{count}" for count in itertools.count(2))
        candidates = itertools.chain([name], numbered)
        unique.append(next(c for c in candidates if c not in unique))
    return tuple(unique)


@record
class Objective:
    """Σ weight · term: a loss of images, and a pytree of its terms' leaves."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple | list):
            raise RequestError(
                f"terms must be a tuple of loss terms, got {self.terms!r}"
            )
        for i, entry in enumerate(self.terms):
            if not isinstance(entry, Term):
                raise RequestError(f"terms[{i}] must be a loss term, got {entry!r}")
        object.__setattr__(self, "terms", tuple(self.terms))

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' names; a second `style` is `style_2`."""
        return unique_names(entry.name for entry in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that the terms need, without repetitions."""
        return tuple(dict.fromkeys(x for entry in self.terms for x in entry.layers))

    def view(
        self,
        network: Network,
        image: jax.Array,
        regions: jax.Array | None = None,
        propagation: str = "simple",
        step: jax.Array | int = 0,
    ) -> View:
        """Return the view of an image [H, W, 3] with optional regions [R, H, W]."""
        guides = {}
        if regions is not None:
            rounding = network.pool_rounding
            guides = layer_guides(regions, self.layers, propagation, rounding)
        return View(image, network(image, self.layers), guides, step)

    def targets(
        self,
        network: Network,
        content: jax.Array,
        styles: Sequence[jax.Array],
        regions: Regions | None = None,
    ) -> tuple[Target, ...]:
        """Return one target per term, from content [H, W, 3] and styles [h, w, 3]."""
        images = [content, *styles]
        image_regions: list[jax.Array | None] = [None] * len(images)
        propagation = "simple"
        if regions is not None:
            image_regions = list(map(jnp.asarray, (regions.content, *regions.styles)))
            propagation = regions.propagation
        with jax.default_matmul_precision(network.numerics.precision):
            content_view, *style_views = (
                self.view(network, image, region, propagation)
                for image, region in zip(images, image_regions, strict=True)
            )
            return tuple(
                entry.target(content_view, style_views) for entry in self.terms
            )

    def __call__(
        self,
        network: Network,
        canvas: jax.Array,
        targets: Sequence[Target],
        step: jax.Array | int = 0,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Return the loss of a canvas [H, W, 3] and its weighted parts.

        Args:
          network: computes the features.
          canvas: the image that is optimised.
          targets: see `targets`.
          step: number of steps so far, for stochastic terms.

        Returns:
          The loss, and part name -> weighted part; the parts sum to the loss.

        Raises:
          RequestError: parts of two terms have the same name.
        """
        parts: dict[str, jax.Array] = {}
        # The declared precision applies to matrix products inside all terms.
        with jax.default_matmul_precision(network.numerics.precision):
            view = self.view(network, canvas, step=step)
            for name, entry, target in zip(
                self.names, self.terms, targets, strict=True
            ):
                for part, value in entry.parts(view, target).items():
                    if part.partition("/")[0] == entry.name:
                        part = name + part.removeprefix(entry.name)
                    if part in parts:
                        raise RequestError(f"two terms have a part named {part!r}")
                    parts[part] = entry.weight * value
        return total(parts.values()), parts
