"""STROTSS against brute force, and the invariances of its losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_views import DEEP, random_view
from scipy.ndimage import map_coordinates

import nst_jax
from nst_jax.losses import RelaxedEMD, SelfSimilarity, View
from nst_jax.losses.strotss import bilinear, relaxed_emd, sample_positions
from nst_jax.optim.part_gradients import part_gradients

pytestmark = pytest.mark.usefixtures("x64")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def printed_columns(view, seed, samples):
    """Hypercolumns by SciPy's interpolation, at the places that are drawn."""
    drawn = np.asarray(sample_positions(view, seed, samples))
    arrays = [view.image, *(view.features[layer] for layer in DEEP)]
    return np.concatenate(
        [
            np.stack(
                [
                    map_coordinates(plane, (drawn / s - 0.5).T, order=1, mode="nearest")
                    for plane in np.moveaxis(array, 2, 0)
                ],
                1,
            )
            for array, s in zip(arrays, (1, 1, 2), strict=True)
        ],
        1,
    )


def printed_distances(a, b):
    return np.array(
        [[1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    )


def test_style_parts_match_brute_force():
    """At the positions of the canvas's step."""
    canvas, style = random_view(60, 9, 7), random_view(61, 6, 11)
    canvas = canvas._replace(step=5)
    a, b = printed_columns(canvas, 3, 8), printed_columns(style, 3, 8)
    colours = np.linalg.norm(a[:, None, :3] - b[None, :, :3], axis=2)

    def emd(cost):
        return max(cost.min(1).mean(), cost.min(0).mean())

    spreads = [np.cov(x.T, bias=True) for x in (a, b)]
    moments = abs(a.mean(0) - b.mean(0)).sum() / abs(b.mean(0)).sum()
    moments += abs(spreads[0] - spreads[1]).sum() / abs(spreads[1]).sum()
    term = RelaxedEMD(layers=DEEP, samples=8, seed=3, moments=2.0, palette=0.5)
    parts = jax.jit(term.parts)(canvas, term.target(canvas, [style]))
    expected = {
        "style/relaxed_emd": emd(printed_distances(a, b)),
        "style/moments": 2 * moments,
        "style/palette": 0.5 * emd(colours),
    }
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6)


def test_self_similarity_matches_brute_force():
    canvas, content = random_view(60, 9, 7)._replace(step=5), random_view(62, 9, 7)
    term = SelfSimilarity(layers=DEEP, samples=8, seed=3)
    target = term.target(content, ())
    d, e = (
        printed_distances(*[printed_columns(x, 3, 8)] * 2)
        for x in (canvas, content._replace(step=5))
    )
    expected = 8 * abs(d / d.sum(0) - e / e.sum(0)).mean()
    np.testing.assert_allclose(jax.jit(term)(canvas, target), expected, rtol=1e-5)
    assert abs(term(canvas._replace(step=6), target) - expected) > 1e-3


@pytest.mark.parametrize("term", [RelaxedEMD, SelfSimilarity])
def test_losses_do_not_depend_on_the_scale_of_the_features(term):
    """Weights trained on another range of the input have other scales."""
    term = term(layers=DEEP, samples=20)
    parts = []
    for factor in (1e3, 1e6):
        canvas, style = (
            view._replace(features={k: factor * f for k, f in view.features.items()})
            for view in (random_view(60, 9, 7), random_view(61, 9, 7))
        )
        parts.append(term.parts(canvas, term.target(style, [style])))
    for name, value in parts[0].items():
        np.testing.assert_allclose(parts[1][name], value, rtol=1e-3)


def test_moments_are_relative_errors():
    """A canvas of zeros has lost mean and covariance; the style has lost nothing."""
    style = random_view(61, 9, 7)
    term = RelaxedEMD(layers=DEEP, samples=20)
    target = term.target(style, [style])
    assert term.parts(style, target)["style/moments"] == pytest.approx(0, abs=1e-12)
    black = jax.tree.map(jnp.zeros_like, style)
    assert term.parts(black, target)["style/moments"] == pytest.approx(2, rel=1e-6)


def test_a_flat_style_has_finite_moments():
    """Its covariance is 0, so the error is a share of its mean's square."""
    flat = jax.tree.map(jnp.ones_like, random_view(61, 9, 7))
    term = RelaxedEMD(layers=DEEP, samples=20)
    noise = random_view(60, 9, 7)
    columns = printed_columns(noise, 0, 20)
    error = abs(columns.mean(0) - 1).sum() / 12
    error += 100 * abs(np.cov(columns.T, bias=True)).sum() / 12**2
    parts = term.parts(noise, term.target(flat, [flat]))
    assert parts["style/moments"] == pytest.approx(error, rel=1e-6)


def test_parts_pull_about_equally_at_the_start(network):
    """The largest gradient is at most ten times the smallest, from the preset's start.

    With absolute moments they differ by a factor of 10⁴.
    """
    pair = {"content": "samples/coffee.png", "styles": ("samples/woodcut.jpg",)}
    experiment = nst_jax.preset("strotss", **pair, size=64, ladder=nst_jax.Ladder())
    (group,) = nst_jax.build(experiment).groups
    (problem,) = group.problems()
    (start,) = group.starting_images([0])
    with jax.enable_x64(False):
        variable = problem.parametrisation.encode(jnp.asarray(start))
        norms = jax.jit(part_gradients)(problem, variable)
    del norms["loss"]
    assert norms.keys() == {
        *("content", "style/relaxed_emd", "style/moments", "style/palette")
    }
    assert max(norms.values()) < 10 * min(norms.values())


def test_relaxed_emd_of_weights_is_that_of_what_counts():
    """A permutation costs nothing; either side may have the larger sum."""
    cost = abs(normal(63, 5, 4))
    kept = np.ix_([0, 2, 3], [1, 3])
    w, v = jnp.asarray([1, 0, 1, 1, 0]) / 3, jnp.asarray([0, 0.5, 0, 0.5])
    expected = relaxed_emd(jnp.asarray(cost[kept]))
    np.testing.assert_allclose(
        relaxed_emd(jnp.asarray(cost), w, v), expected, rtol=1e-12
    )
    order = jnp.asarray([[1.0, 0, 1], [1, 1, 0], [0, 1, 1]])
    assert relaxed_emd(order) == 0
    assert relaxed_emd(order.at[:, 1].set(1)) == relaxed_emd(order.at[0].set(1)) > 0


@pytest.mark.parametrize("term", [RelaxedEMD, SelfSimilarity])
def test_strotss_does_not_know_channels_by_their_order(term):
    views = [random_view(seed, 8, 9) for seed in (61, 62)]
    others = [
        view._replace(features={k: f[..., ::-1] for k, f in view.features.items()})
        for view in views
    ]
    own = term(layers=DEEP, samples=20)
    one, other = (own(a, own.target(b, [b])) for a, b in (views, others))
    np.testing.assert_allclose(other, one, rtol=1e-10)


def test_self_similarity_does_not_know_a_picture_by_its_strength():
    """Cosines are of directions."""
    canvas, content = (random_view(seed, 8, 9) for seed in (61, 62))
    term = SelfSimilarity(layers=DEEP, samples=20)
    stronger = jax.tree.map(lambda x: 3 * x, (canvas.image, canvas.features))
    target_statistic = term.target(content, ())
    np.testing.assert_allclose(
        term(View(*stronger), target_statistic),
        term(canvas, target_statistic),
        rtol=1e-10,
    )


def test_regions_of_strotss_keep_to_themselves():
    """The canvas's left half is compared with the style's left half: what lies to the
    right of either has no gradient, and no say."""
    canvas, style = random_view(64, 8, 8), random_view(65, 8, 8)
    left = jnp.zeros((1, 8, 8)).at[:, :, :4].set(1)
    guides = {"relu1_2": left, "relu2_1": left[:, ::2, ::2]}
    term = RelaxedEMD(layers=DEEP, samples=40)

    @jax.jit
    def loss(image, style_image):
        view = canvas._replace(image=image, guides=guides)
        other = style._replace(image=style_image, guides=guides)
        return term(view._replace(guides={}), term.target(view, [other]))

    value = loss(canvas.image, style.image)
    change = normal(66, 8, 8, 3)
    far, near = (
        change * (np.arange(8) >= 5)[:, None],
        change * (np.arange(8) < 3)[:, None],
    )
    for one, other in ((far, 0), (0, far)):
        same = loss(canvas.image + one, style.image + other)
        np.testing.assert_allclose(same, value, rtol=1e-12)
    for one, other in ((near, 0), (0, near)):
        assert abs(loss(canvas.image + one, style.image + other) - value) > 1e-3


def test_a_region_that_no_place_falls_into_moves_nothing():
    """One pixel of 32 × 32, between the eight places."""
    size = 32
    canvas, style = random_view(67, size, size), random_view(68, size, size)
    term = RelaxedEMD(layers=DEEP, samples=8)
    at = np.asarray(sample_positions(canvas, 0, 8))
    free = next(
        (y, x)
        for y, x in np.ndindex(size, size)
        if np.abs(at - np.array([[y, x]])).max(1).min() > 1.5
    )
    spot = jnp.zeros((2, size, size)).at[1, free[0], free[1]].set(1)
    guides = {
        "relu1_2": spot.at[0].set(1 - spot[1]),
        "relu2_1": jnp.ones((2, size // 2, size // 2)),
    }
    whole = {layer: guide[:1] for layer, guide in guides.items()}
    wide = {layer: jnp.ones_like(guide) for layer, guide in guides.items()}

    @jax.jit
    def slope(own, other):
        target = term.target(
            canvas._replace(guides=own), [style._replace(guides=other)]
        )
        return jax.grad(lambda x: term(canvas._replace(image=x, guides={}), target))(
            canvas.image
        )

    found, wanted = (
        slope(guides, wide),
        slope(whole, {k: v[:1] for k, v in wide.items()}),
    )
    assert jnp.isfinite(found).all()
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_bilinear_of_one_position_is_that_position():
    found = bilinear(
        jnp.full((1, 1, 2), 3.0), jnp.asarray([[0.0, 5.0], [16.0, 16.0]]), 16
    )
    np.testing.assert_array_equal(found, 3)
