"""Nearest features: matching, loss and gradient against NumPy and differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.losses import NearestFeatures, View
from nst_jax.losses import nearest as module
from nst_jax.losses.strotss import bilinear

LAYERS = ("relu1_1", "relu2_1")
TERM = NearestFeatures(layers=LAYERS, content_share=0.25, neighbours=2)

pytestmark = pytest.mark.usefixtures("x64")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def picture(seed, height=7, width=9):
    """Return features of an image whose sides are odd, so that pooling rounds up."""
    coarse = -(-height // 2), -(-width // 2)
    return {
        "relu1_1": normal(seed, height, width, 4),
        "relu2_1": normal(seed, *coarse, 6),
    }


def view(features, regions=None):
    """Return a view with regions [R, h, w] at the finest layer."""
    guides = {} if regions is None else {"relu1_1": jnp.asarray(regions)}
    return View(jnp.zeros((1, 1, 3)), jax.tree.map(jnp.asarray, features), guides)


def evaluate(term, features, target, match):
    """Return the loss of a canvas for given matches."""
    return term(view(features)._replace(match=match), target)


def numpy_columns(features):
    """Return the columns of both layers, by another interpolation."""
    height, width, _ = features["relu1_1"].shape
    y, x = np.mgrid[:height, :width] + 0.5
    positions = jnp.asarray(np.stack([y.ravel(), x.ravel()], 1))
    return [
        np.asarray(bilinear(jnp.asarray(features[layer]), positions, stride))
        for layer, stride in zip(LAYERS, (1, 2), strict=True)
    ]


def numpy_unit(columns):
    scaled = []
    for column in columns:
        centred = column - column.mean(0)
        scaled.append(centred / np.sqrt((centred**2).sum(1).mean()))
    joined = np.concatenate(scaled, 1)
    return joined / np.linalg.norm(joined, axis=1, keepdims=True)


def numpy_nearest(queries, keys, neighbours):
    cosine = queries @ keys.T
    hubness = np.sort(cosine, 0)[-neighbours:].mean(0) if neighbours else 0
    return (2 * cosine - hubness).argmax(1)


@pytest.mark.parametrize("neighbours", [0, 1, 5])
@pytest.mark.parametrize("chunk", [2**24, 64])
def test_nearest_is_the_brute_force_search(monkeypatch, neighbours, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    queries, keys = normal(0, 41, 5), normal(1, 29, 5)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    result = module.nearest(jnp.asarray(queries), jnp.asarray(keys), neighbours)
    assert result.dtype == jnp.int32
    np.testing.assert_array_equal(result, numpy_nearest(queries, keys, neighbours))


def test_hub_correction_changes_the_match_of_a_hub():
    """One key is nearest to all queries; the correction gives some to the other."""
    angles = np.deg2rad([0, 20, 40])
    queries = np.stack([np.cos(angles), np.sin(angles)], 1)
    angles = np.deg2rad([22, 75])
    keys = np.stack([np.cos(angles), np.sin(angles)], 1)
    plain, corrected = (
        module.nearest(jnp.asarray(queries), jnp.asarray(keys), n) for n in (0, 3)
    )
    np.testing.assert_array_equal(plain, [0, 0, 0])
    np.testing.assert_array_equal(corrected, [0, 0, 1])


def test_regions_search_their_own_keys_alone():
    queries, keys = normal(2, 30, 4), normal(3, 20, 4)
    regions = np.arange(30) % 3
    allowed = np.zeros((3, 20), bool)
    allowed[0, :9] = allowed[1, 9:] = True  # Region 2 has no key.
    for neighbours in (0, 4):
        result = np.asarray(
            module.nearest(
                *map(jnp.asarray, (queries, keys)),
                neighbours,
                jnp.asarray(regions, jnp.int32),
                jnp.asarray(allowed),
            )
        )
        for region, first in ((0, 0), (1, 9)):
            own_queries, own_keys = queries[regions == region], keys[allowed[region]]
            expected = first + numpy_nearest(own_queries, own_keys, neighbours)
            np.testing.assert_array_equal(result[regions == region], expected)
        np.testing.assert_array_equal(result[regions == 2], 0)


def test_loss_is_the_relative_distance_to_the_matched_features():
    canvas, content, style = picture(0), picture(1), picture(2, 6, 5)
    term = dataclasses.replace(TERM, layer_weights=(3.0, 0.5))
    target = term.target(view(content), [view(style)])
    columns = {
        name: numpy_columns(features)
        for name, features in (
            ("canvas", canvas),
            ("content", content),
            ("style", style),
        )
    }
    mixed = [
        0.75 * a + 0.25 * b
        for a, b in zip(columns["canvas"], columns["content"], strict=True)
    ]
    match = numpy_nearest(numpy_unit(mixed), numpy_unit(columns["style"]), 2)
    (result,) = term.match(view(canvas), target)
    np.testing.assert_array_equal(result, match)
    expected = []
    for f, s in zip(columns["canvas"], columns["style"], strict=True):
        spread = ((s - s.mean(0)) ** 2).sum(1).mean()
        expected.append(((f - s[match]) ** 2).sum(1).mean() / spread)
    parts = term.parts(view(canvas)._replace(match=(result,)), target)
    assert list(parts) == ["nearest/relu1_1", "nearest/relu2_1"]
    np.testing.assert_allclose(
        list(parts.values()), np.multiply(expected, [3, 0.5]), rtol=1e-6
    )


def test_gradient_is_the_difference_at_fixed_matches():
    canvas = picture(0)
    target = TERM.target(view(picture(1)), [view(picture(2)), view(picture(3, 5, 8))])
    match = TERM.match(view(canvas), target)

    @jax.jit
    def loss(features):
        return evaluate(TERM, features, target, match)

    gradient = jax.grad(loss)(canvas)
    direction, step = picture(9), 1e-6
    ahead, behind = (
        loss(jax.tree.map(lambda x, d, s=sign: x + s * step * d, canvas, direction))
        for sign in (1, -1)
    )
    slope = sum(np.vdot(gradient[x], direction[x]) for x in LAYERS)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)


def test_a_canvas_that_is_the_style_has_no_loss():
    term = dataclasses.replace(TERM, content_share=0.0, neighbours=0)
    style = picture(4)
    target = term.target(view(picture(5)), [view(style)])
    match = term.match(view(style), target)
    np.testing.assert_array_equal(match[0], np.arange(7 * 9))
    assert evaluate(term, style, target, match) == 0


def test_content_share_one_matches_the_content():
    term = dataclasses.replace(TERM, content_share=1.0)
    target = term.target(view(picture(1)), [view(picture(2))])
    first, second = (term.match(view(picture(seed)), target)[0] for seed in (6, 7))
    np.testing.assert_array_equal(first, second)
    first, second = (
        dataclasses.replace(term, content_share=0.0).match(view(picture(i)), target)[0]
        for i in (6, 7)
    )
    assert (first != second).any()


def test_matches_do_not_depend_on_the_scale_of_features():
    """Every layer is divided by its own size, so weight files in other units agree."""
    pictures = [picture(seed) for seed in (0, 1, 2)]
    scaled = [
        {"relu1_1": 100 * p["relu1_1"], "relu2_1": 0.01 * p["relu2_1"]}
        for p in pictures
    ]
    results = []
    for canvas, content, style in (pictures, scaled):
        target = TERM.target(view(content), [view(style)])
        match = TERM.match(view(canvas), target)
        results.append((match[0], evaluate(TERM, canvas, target, match)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-3)


def test_regions_are_weighted_by_their_area_and_absent_ones_left_out():
    regions = np.zeros((2, 7, 9))
    regions[0, :4], regions[1, 4:] = 1, 1
    whole, upper = np.zeros((2, 7, 9)), np.zeros((2, 7, 9))
    whole[0, :, :5], whole[1, :, 5:] = 1, 1
    upper[0] = 1  # This style has no second region.
    content, canvas = picture(1), picture(0)
    styles = [view(picture(2), whole), view(picture(3), upper)]
    target = TERM.target(view(content, regions), styles)
    matches = TERM.match(view(canvas), target)
    rows = np.arange(7 * 9) // 9
    columns = np.asarray(matches[0]) % 9
    assert (columns[rows < 4] < 5).all()
    assert (columns[rows >= 4] >= 5).all()
    shares = np.stack([np.asarray(x) for x in TERM._position_weights(target)])
    np.testing.assert_allclose(shares[:, rows < 4], 0.5 / 63)
    np.testing.assert_allclose(shares[:, rows >= 4], [[1 / 63] * 27, [0] * 27])
    only_upper = TERM.target(view(content, regions), styles[1:])
    match = TERM.match(view(canvas), only_upper)
    gradient = jax.grad(lambda x: evaluate(TERM, x, only_upper, match))(canvas)
    assert not gradient["relu1_1"][4:].any()
    assert gradient["relu1_1"][:4].any()


def test_patches_are_squares_of_neighbours():
    features = {"relu1_1": normal(8, 6, 5, 2)}
    term = NearestFeatures(layers=LAYERS[:1], patch=3, content_share=0.0, neighbours=0)
    target = term.target(view(features), [view(features)])
    expected = [
        features["relu1_1"][y : y + 3, x : x + 3].ravel()
        for y in range(4)
        for x in range(3)
    ]
    np.testing.assert_array_equal(target.content[0], expected)
    (match,) = term.match(view(features), target)
    np.testing.assert_array_equal(match, np.arange(12))
    small = {"relu1_1": normal(8, 2, 2, 2)}  # Smaller than a patch.
    assert term.target(view(small), [view(small)]).content[0].shape == (1, 8)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_flat_images_have_no_nan(value):
    flat = jax.tree.map(lambda x: np.full_like(x, value), picture(0))
    for canvas, style in ((flat, picture(2)), (picture(0), flat), (flat, flat)):
        target = TERM.target(view(picture(1)), [view(style)])

        def loss(features, target=target):
            match = TERM.match(view(jax.lax.stop_gradient(features)), target)
            return evaluate(TERM, features, target, match)

        loss_value, gradient = jax.value_and_grad(loss)(canvas)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
        # A style of zeros has no scale at all; a flat one has that of its mean.
        assert loss_value < 1e5 or not any(map(np.any, jax.tree.leaves(style)))


def test_positions_in_no_region_do_not_change_the_matches_of_others():
    """Hidden parts of content, canvas and style take no part in the normalisation."""
    visible = np.zeros((1, 7, 9))
    visible[:, :4] = 1

    def hide(features, value):
        hidden = np.where(visible[0, :, :, None] > 0, features["relu1_1"], value)
        return features | {"relu1_1": hidden}

    term = dataclasses.replace(TERM, layers=LAYERS[:1])
    results = []
    for value in (0.0, 50.0):
        canvas, content, style = (hide(picture(seed), value) for seed in (0, 1, 2))
        target = term.target(view(content, visible), [view(style, visible)])
        match = term.match(view(canvas), target)
        shown = np.asarray(match[0])[: 4 * 9]
        results.append((shown, evaluate(term, canvas, target, match)))
    (first, first_loss), (second, second_loss) = results
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first_loss, second_loss, rtol=1e-9)


def test_matching_one_by_one_is_matching_a_batch():
    target = TERM.target(view(picture(1)), [view(picture(2))])
    canvases = [picture(seed) for seed in (3, 4, 5)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *canvases)
    together = jax.vmap(lambda x: TERM.match(view(x), target)[0])(batch)
    for result, canvas in zip(together, canvases, strict=True):
        np.testing.assert_array_equal(result, TERM.match(view(canvas), target)[0])
