"""What a loss term is, and the objective that sums terms.

A term knows how to take a target from the pictures, once, and how far a canvas
is from that target, at every step. To add one, subclass `Term` in a file of
your own:

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
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.pytree import record
from nst_jax.core.pytree import record as term
from nst_jax.core.pytree import static as static
from nst_jax.core.representation import short_repr
from nst_jax.losses.guides import guides
from nst_jax.losses.scaling import normalised_gradient, self_scaled
from nst_jax.models.layers import canonical_layers
from nst_jax.models.vgg import Network

Target = Any


def check_integers(term: "Term", **least: int) -> None:
    """Raises RequestError if a field is no integer, or below its least value."""
    for field, bound in least.items():
        value = getattr(term, field)
        if isinstance(value, bool) or not isinstance(value, int) or value < bound:
            raise RequestError(
                f"{term.name}.{field} must be an integer from {bound}, got {value!r}"
            )


class View(NamedTuple):
    """A picture as the terms see it.

    Attributes:
      image: [H, W, 3], sRGB; a canvas may leave [0, 1] while it is optimised.
      features: canonical layer name -> [h, w, c], for the layers of all terms.
      guides: canonical layer name -> [R, h, w], how much of each position belongs to
        each of R regions, from 0 to 1; empty where there is one region alone. The
        canvas's are the content's, and stand in the targets.
      step: how many steps were made before; what a term draws anew at each step, it
        draws with a key that is folded with this.
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

    Fields are leaves, numbers that one compiled program can take many values of,
    except those declared with `static`: layers, switches, names.

    Attributes:
      weight: what the term counts for in the sum; a leaf.
      layers: the features it looks at, by any name `layers.canonical_layer` knows.
      name: what its rows in the metrics are called.
    """

    weight: float = 1.0
    layers: tuple[str, ...] = static(default=())
    name: str = static(default="term")

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", canonical_layers(self.layers))
        for field in dataclasses.fields(self):
            if not field.metadata.get("static"):
                value = getattr(self, field.name)
                object.__setattr__(self, field.name, self._checked(field.name, value))

    @property
    def is_stochastic(self) -> bool:
        """Whether the loss is another one at each step, which misleads L-BFGS."""
        return False

    def target(self, content: View, styles: Sequence[View]) -> Target:
        """What the canvas is compared with: any pytree, computed once.

        Args:
          content: the content picture.
          styles: the style pictures, of any sizes.
        """
        return None

    def __call__(self, view: View, target: Target) -> jax.Array:
        """The distance of a canvas from the target: an unweighted scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        """The summands of `__call__`, each under the name that its curve bears."""
        return {self.name: self(view, target)}

    def _checked(self, field: str, value: Any) -> Any:
        """A number as a float, several as a tuple of them; an array as it is."""
        if isinstance(value, tuple | list):
            return tuple(self._checked(field, item) for item in value)
        if not isinstance(value, numbers.Real):
            if value is None or isinstance(value, str):
                raise RequestError(
                    f"{self.name}.{field} must be a number, got {value!r}; a switch is "
                    "declared static"
                )
            return value
        value = float(value)
        if not (math.isfinite(value) and value >= 0):
            raise RequestError(
                f"{self.name}.{field} must be finite and not negative, got {value}"
            )
        return value


def total(summands: Iterable[jax.Array]) -> jax.Array:
    """Their sum, in their own dtype."""
    return functools.reduce(operator.add, summands)


@term
class LayerTerm(Term):
    """A term that is a sum over layers, with a curve for each.

    A subclass says what is compared (`target`: a tuple, one entry a layer) and
    how (`layer_loss`); that, or `parts`, is what to override. Where a tool's
    convention scales its layers, `factor` does.

    Attributes:
      layer_weights: one a layer, leaves; empty means 1 for all.
      normalise: "", "gradient" or "self_scaled": whether a layer counts by its weight
        alone, however large its features are; see `losses.normalised`, which says
        with which solvers. Not every term has both.
      strength: how much of that, from 0, nothing, to 1; a leaf.
    """

    layer_weights: tuple[float, ...] = ()
    normalise: str = static(default="")
    strength: float = 1.0

    #: What `normalise` may be; "self_scaled" for those that use `squares`.
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
        if self.normalise not in self.normalisations:
            raise RequestError(
                f"{self.name}.normalise must be one of {self.normalisations}, "
                f"got {self.normalise!r}"
            )
        if isinstance(self.strength, float) and self.strength > 1:
            raise RequestError(
                f"{self.name}.strength must be in [0, 1], got {self.strength}"
            )

    def __init_subclass__(cls) -> None:
        if "__call__" in vars(cls) and "parts" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} overrides __call__, which is the sum of its parts; "
                "override layer_loss or parts"
            )

    @property
    def sites(self) -> tuple[str, ...]:
        """What there is a target, a weight and a curve for: the layers."""
        return self.layers

    def layer_loss(self, features: jax.Array, target: Target) -> jax.Array:
        """The distance of features [h, w, c] at one layer from that layer's target."""
        raise NotImplementedError(f"{type(self).__name__} has no layer_loss")

    def factor(self, view: View, layer: str) -> float:
        """What the loss of a layer of a canvas is multiplied by, beside its weight."""
        return 1.0

    def squares(self, difference: jax.Array) -> jax.Array:
        """Σ d², self-scaled where `normalise` says so."""
        if self.normalise == "self_scaled":
            return self_scaled(difference, self.strength)
        return (difference**2).sum()

    def parts(self, view: View, target: Target) -> dict[str, jax.Array]:
        weights = self.layer_weights or (1.0,) * len(self.sites)
        return {
            f"{self.name}/{site}": weight * self._part(view, site, target_statistic)
            for site, weight, target_statistic in zip(
                self.sites, weights, target, strict=True
            )
        }

    def _part(self, view: View, site: str, target: Target) -> jax.Array:
        """The loss of one layer, without its weight."""
        factor, features = self.factor(view, site), view.features[site]
        if self.normalise == "gradient":
            return normalised_gradient(
                lambda features: factor * self.layer_loss(features, target),
                features,
                self.strength,
            )
        if self.normalise == "self_scaled":  # It goes as "gradient" makes it go.
            factor = factor ** (1 - self.strength)
        return factor * self.layer_loss(features, target)

    def __call__(self, view: View, target: Target) -> jax.Array:
        return total(self.parts(view, target).values())


@record
class Regions:
    """The regions of the pictures that targets are taken from; a pytree.

    Attributes:
      content: [R, H, W] from 0 to 1, how much of each pixel belongs to each region.
      styles: [R, h, w] for each style picture.
      propagation: how they go down to the layers, one of `guides.PROPAGATIONS`.
    """

    content: jax.Array | np.ndarray
    styles: tuple[jax.Array | np.ndarray, ...]
    propagation: str = static(default="simple")


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Number the repeated names: a second `style` becomes `style_2`."""
    unique: list[str] = []
    for name in names:
        numbered, count = name, 1
        while numbered in unique:
            count += 1
            numbered = f"{name}_{count}"
        unique.append(numbered)
    return tuple(unique)


@record
class Objective:
    """Σ weight · term: a loss over pictures, and a pytree of its terms' leaves."""

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        terms = self.terms
        if not isinstance(terms, tuple | list):
            raise RequestError(f"terms must be a tuple of loss terms, got {terms!r}")
        for i, term_ in enumerate(terms):
            if not isinstance(term_, Term):
                raise RequestError(f"terms[{i}] is {term_!r}, which is not a loss term")
        object.__setattr__(self, "terms", tuple(terms))

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' names, no two alike; a second `style` is `style_2`."""
        return unique_names(term_.name for term_ in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that some term looks at, once."""
        return tuple(dict.fromkeys(x for term_ in self.terms for x in term_.layers))

    def view(
        self,
        network: Network,
        image: jax.Array,
        regions: jax.Array | None = None,
        propagation: str = "simple",
        step: jax.Array | int = 0,
    ) -> View:
        """A picture [H, W, 3], its regions [R, H, W] if any, as the terms see it."""
        guided = {}
        if regions is not None:
            rounding = network.pool_rounding
            guided = guides(regions, self.layers, propagation, rounding)
        return View(image, network(image, self.layers), guided, step)

    def targets(
        self,
        network: Network,
        content: jax.Array,
        styles: Sequence[jax.Array],
        regions: Regions | None = None,
    ) -> tuple[Target, ...]:
        """One target a term, from a content [H, W, 3] and style pictures [h, w, 3]."""
        pictures = [content, *styles]
        own: list[jax.Array | None] = [None] * len(pictures)
        how = "simple"
        if regions is not None:
            own = list(map(jnp.asarray, (regions.content, *regions.styles)))
            how = regions.propagation
        with jax.default_matmul_precision(network.numerics.precision):
            content_view, *style_views = (
                self.view(network, picture, region, how)
                for picture, region in zip(pictures, own, strict=True)
            )
            return tuple(
                term_.target(content_view, style_views) for term_ in self.terms
            )

    def __call__(
        self,
        network: Network,
        canvas: jax.Array,
        targets: Sequence[Target],
        step: jax.Array | int = 0,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a canvas [H, W, 3] and, per term and layer, what it is made of.

        The parts are weighted: they sum to the loss.

        Args:
          step: how many steps were made before, for what is drawn anew at each.

        Raises:
          RequestError: parts of two terms have one name.
        """
        parts: dict[str, jax.Array] = {}
        # Matrix products inside terms, a user's own too, follow the declared
        # precision without naming it.
        with jax.default_matmul_precision(network.numerics.precision):
            view = self.view(network, canvas, step=step)
            for name, term_, target in zip(
                self.names, self.terms, targets, strict=True
            ):
                for part, value in term_.parts(view, target).items():
                    if part.partition("/")[0] == term_.name:
                        part = name + part.removeprefix(term_.name)
                    if part in parts:
                        raise RequestError(f"two terms have a part named {part!r}")
                    parts[part] = term_.weight * value
        return total(parts.values()), parts
