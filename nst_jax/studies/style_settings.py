"""Style settings of a run: trace of the Gram matrices, and ratio to the content."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nst_jax.losses import Content
from nst_jax.metrics.dispersion import Dispersion
from nst_jax.metrics.feature_distances import gram_traces
from nst_jax.studies.run_data import RunData, SeedGroup

#: Config paths that define a style setting.
STYLE_PATHS = {"styles", "style_scale"}


@dataclasses.dataclass(frozen=True)
class StyleSetting:
    """A style setting.

    Attributes:
      group: its seeds.
      arm: values of the axes that vary neither style nor seed, in words.
      key: values of the axes that vary the style, in words.
      style: style images; settings of one style are no independent points.
      trace: geometric mean of the traces of the Gram matrices.
      ratio: style over content, see `_ratio`; None if unknown.
      weights: weights that vary along with the style.
    """

    group: SeedGroup
    arm: str
    key: str
    style: str
    trace: float
    ratio: float | None
    weights: tuple[tuple[str, str], ...]

    @property
    def dispersion(self) -> Dispersion:
        return self.group.dispersion


def style_layers(run_data: RunData) -> list[str]:
    """Return the layers of the style terms."""
    terms = [term for term in run_data.terms if "blend" in term]
    return list(dict.fromkeys(layer for term in terms for layer in term["layers"]))


def style_settings(run_data: RunData) -> list[StyleSetting]:
    """Return the style settings of a run over styles; empty without a network."""
    from scipy import stats  # A slow import.

    style_axes = [i for i, x in enumerate(run_data.fields) if STYLE_PATHS & {*x}]
    arms = arm_axes(run_data)
    groups = [g for g in run_data.seed_groups if run_data.styles.get(g.members[0])]
    layers = style_layers(run_data)
    if not style_axes or not layers:
        return []
    if (network := run_data.network()) is None:
        return []
    traces: dict[str, float] = {}
    settings = []
    for group in groups:
        member = group.members[0]
        varies = run_data.run.members[member].varies
        key = ", ".join(run_data.labels(member, style_axes))
        if key not in traces:
            images = run_data.styles[member]
            by_layer = [gram_traces(network, x, layers).values() for x in images]
            traces[key] = float(stats.gmean([x for values in by_layer for x in values]))
        settings.append(
            StyleSetting(
                group,
                run_data.describe(member, arms),
                key,
                str(varies.get("styles")),
                traces[key],
                _ratio(run_data, group.members),
                tuple(
                    (path, str(varies.get(path)))
                    for axis in style_axes
                    for path in run_data.fields[axis]
                    if path.startswith("terms.")
                ),
            )
        )
    return settings


def arm_axes(run_data: RunData) -> list[int]:
    """Return the axes that vary neither style, seed nor twin."""
    axes = run_data.other_axes(None)
    return [i for i in axes if not STYLE_PATHS & {*run_data.fields[i]}]


def has_gradients(run_data: RunData) -> bool:
    """Return whether the run has recorded gradient norms."""
    return any(entry.gradients for entry in run_data.run.members)


def _ratio(run_data: RunData, members: Sequence[int]) -> float | None:
    """Mean ratio of style to content over members, if all have it.

    It is the ratio of the sums of the parts' gradient norms at the start or, without
    recorded gradients, of the losses at the end.
    """
    styles = {term.get("name") for term in run_data.terms if "blend" in term}
    contents = {
        term.get("name")
        for term in run_data.terms
        if term.get("type") == Content.__name__
    }
    ratios = []
    for member in members:
        gradients = run_data.run.members[member].gradients
        rows = run_data.rows.get(member)
        if gradients:
            parts: Mapping[str, float | None] = gradients.start
        elif rows and not has_gradients(run_data):
            parts = rows[-1]["terms"]
        else:
            return None
        style, content = (_sum_parts(parts, names) for names in (styles, contents))
        if not (style > 0 and content > 0):
            return None
        ratios.append(style / content)
    return float(np.mean(ratios))


def _sum_parts(parts: Mapping[str, float | None], terms: set[Any]) -> float:
    """Return the sum of the parts of some terms; NaN if a part is not finite."""
    values = [x for name, x in parts.items() if name.split("/")[0] in terms]
    return sum(math.nan if x is None else x for x in values)
