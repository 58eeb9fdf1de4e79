"""Distances between features, against closed forms and direct formulas."""

import math

import numpy as np
import pytest
from pictures import smooth_picture
from scipy import stats

import nst_jax
from nst_jax.images.colour import MAPS, match_moments
from nst_jax.metrics.feature_distances import (
    GRID,
    extract_features,
    mean_distance,
    scaled_features,
    self_similarity_distance,
    sliced_distance,
    stroke_distances,
)

RNG = np.random.default_rng(0)
F, G = RNG.normal(size=(2, 4, 5, 6)).astype("f4")
LAYERS = ("relu1_1", "relu1_2")


# The style.


def test_where_features_are_and_how_many_is_not_seen():
    shuffled = RNG.permutation(F.reshape(-1, 6)).reshape(5, 4, 6)
    twice = np.concatenate([F, shuffled.reshape(F.shape)])
    for same in (F, shuffled, twice):
        assert sliced_distance(same, F) < 1e-6
        assert sliced_distance(G, same) == pytest.approx(sliced_distance(G, F))
    assert sliced_distance(G, F) > 0.1


def test_the_unit_of_a_layer_is_not_seen():
    whole = sliced_distance(F, G)
    assert sliced_distance(1e4 * F, 1e4 * G) == pytest.approx(whole, rel=1e-5)


def test_no_features_are_at_distance_1_and_so_are_doubled_ones():
    assert sliced_distance(0 * F, G) == pytest.approx(1, rel=1e-6)
    assert sliced_distance(2 * G, G) == pytest.approx(1, rel=1e-6)
    assert sliced_distance(0 * F, 0 * G) == 0


@pytest.mark.parametrize("channels", [1, 2, 20])
def test_shifts_along_all_channels_add_up_to_their_square(channels):
    """A unit direction has Σᵢ θᵢ² = 1, and these features the identity for F Fᵀ/M."""
    axes = math.sqrt(channels) * np.eye(channels)
    style = np.concatenate([axes, -axes])
    shifted = [sliced_distance(style + 0.3 * e, style) for e in np.eye(channels)]
    assert np.square(shifted).sum() == pytest.approx(0.3**2, rel=1e-5)


def test_normal_distributions_are_apart_as_their_means_and_deviations():
    """W₂² = (μ − ν)² + (σ − τ)² in one dimension, for samples of two sizes."""
    ours, theirs = (
        mean + deviation * stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]
        for mean, deviation, n in ((1.0, 2.0, 7000), (3.0, 0.5, 5000))
    )
    wanted = math.sqrt((4 + 2.25) / (9 + 0.25))
    assert sliced_distance(ours, theirs) == pytest.approx(wanted, rel=2e-3)


def test_a_wider_normal_distribution_is_so_in_every_direction():
    drawn = np.random.default_rng(0).normal(size=(2, 20_000, 5))
    assert sliced_distance(1.5 * drawn[0], drawn[1]) == pytest.approx(0.5, rel=0.02)


# The content.


def direct(features, content):
    """Equation 7, written out, times n."""
    sides = []
    for picture in (features, content):
        f = np.float64(picture).reshape(-1, picture.shape[-1])
        n = len(f)
        d = np.array(
            [
                [
                    1 - f[i] @ f[j] / math.sqrt(f[i] @ f[i] * (f[j] @ f[j]))
                    for j in range(n)
                ]
                for i in range(n)
            ]
        )
        sides.append(d / d.sum(0))
    return n * np.abs(sides[0] - sides[1]).sum() / n**2


def test_self_similarity_is_equation_7():
    assert self_similarity_distance(F, G) == pytest.approx(direct(F, G), rel=1e-9)


def test_what_turns_or_stretches_features_changes_no_self_similarity():
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    lengths = RNG.uniform(0.5, 2, (4, 5, 1))
    for alike in (F, F @ turn, lengths * F, np.concatenate([F, F], axis=-1)):
        assert self_similarity_distance(alike, F) < 1e-6
        found = self_similarity_distance(alike, G)
        assert found == pytest.approx(self_similarity_distance(F, G), rel=1e-5)


def test_positions_matter_unless_both_pictures_exchange_them():
    order = RNG.permutation(20)
    here, there = (x.reshape(20, 6)[order].reshape(4, 5, 6) for x in (F, G))
    whole = self_similarity_distance(F, G)
    assert self_similarity_distance(here, there) == pytest.approx(whole, rel=1e-6)
    assert self_similarity_distance(here, F) > 0.1


def test_of_many_positions_those_of_a_grid_are_compared():
    small, other = RNG.normal(size=(2, GRID, GRID, 3))
    large, further = (x.repeat(2, axis=0).repeat(2, axis=1) for x in (small, other))
    wanted = self_similarity_distance(small, other)
    assert self_similarity_distance(large, further) == pytest.approx(wanted, rel=1e-12)
    other = small.copy()
    other[17, 5] *= -1
    assert self_similarity_distance(other, small) > 1e-4


def test_features_of_one_direction_are_alike_whatever_their_rounding():
    one = RNG.uniform(1, 2, (4, 5, 1)) * RNG.normal(size=6)
    for flat in (one, one.astype("f4"), 0 * one + 0.1):
        assert self_similarity_distance(flat, F) == pytest.approx(1, abs=1e-3)
        assert self_similarity_distance(flat, one) < 1e-3


# Of the network.


def test_features_are_of_clipped_images(network):
    image = 0.5 + 3 * (smooth_picture(0, 16, 20) - 0.5)
    features = extract_features(network, image, LAYERS)
    clipped = network(np.clip(image, 0, 1), LAYERS)
    assert tuple(features) == LAYERS
    for layer in LAYERS:
        np.testing.assert_allclose(
            features[layer], clipped[layer], rtol=1e-4, atol=1e-3
        )


def test_the_mean_is_over_layers():
    a, b = {"x": F, "y": G}, {"x": G, "y": G}
    half = sliced_distance(F, G) / 2
    assert mean_distance(sliced_distance, a, b) == pytest.approx(half)


def test_strokes_are_compared_at_three_sizes_in_one_palette(network):
    """Each size is a mean of 2 × 2 pixels of the size before, after the recolouring."""
    image, style = smooth_picture(0, 18, 22), smooth_picture(1, 16, 20)
    features, target = (
        scaled_features(network, x, LAYERS, colours=style) for x in (image, style)
    )
    pixels = match_moments(
        np.float64(image), np.float64(style), MAPS["match_symmetric"]
    )
    quarter = pixels[:16, :20].reshape(4, 4, 5, 4, 3).mean((1, 3))
    wanted = network(quarter.astype(np.float32), LAYERS)
    for layer in LAYERS:
        np.testing.assert_allclose(
            features[4][layer], wanted[layer], rtol=1e-4, atol=2e-3
        )
    distances = stroke_distances(features, target)
    assert list(distances) == [1, 2, 4]
    for k, distance in distances.items():
        by_layer = [sliced_distance(features[k][x], target[k][x]) for x in LAYERS]
        assert distance == pytest.approx(np.mean(by_layer)) and distance > 0.01
    assert max(stroke_distances(target, target).values()) == 0


def test_recolouring_to_the_style_changes_no_strokes(network):
    """While nothing is clipped, the second recolouring is the identity."""
    image, style = (0.5 + 0.3 * (smooth_picture(i, 16, 20) - 0.5) for i in range(2))
    recoloured = match_moments(image, style, MAPS["match_symmetric"])
    assert recoloured.min() > 0 and recoloured.max() < 1
    ours, same, target = (
        scaled_features(network, x, LAYERS, colours=style)
        for x in (image, recoloured, style)
    )
    distances = stroke_distances(ours, target)
    assert stroke_distances(same, target) == pytest.approx(distances, rel=1e-3)


def test_sizes_that_the_layers_cannot_reach_are_left_out(network):
    image = smooth_picture(0, 16, 24)
    features = scaled_features(network, image, ("relu3_1",), colours=image)
    assert list(features) == [1, 2, 4]
    assert list(scaled_features(network, image, ("relu4_1",), colours=image)) == [1, 2]
    small = scaled_features(network, image[:9], ("relu3_1",), colours=image)
    assert list(stroke_distances(features, small)) == [1, 2]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sliced_distance(F, G[..., :5]), r"same c, got \[4, 5, 6\] and \[4, 5"),
        (lambda: sliced_distance(F[:0], G), r"got \[0, 5, 6\]"),
        (lambda: self_similarity_distance(F, G[:3]), r"got \[4, 5, 6\] and \[3, 5, 6"),
    ],
)
def test_features_that_do_not_fit_are_refused(call, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()
