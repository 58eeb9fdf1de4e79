"""Sliced Wasserstein distances, against scipy and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats

import nst_jax
from nst_jax.metrics.sliced import project, sliced_wasserstein, unit_vectors

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [60, 45, 7])
def test_the_distance_is_the_mean_of_scipys_over_directions(count):
    ours, theirs = RNG.normal(size=(60, 3)), RNG.normal(size=(count, 3)) + 0.3
    pairs = zip(project(ours), project(theirs), strict=True)
    wanted = np.mean([stats.wasserstein_distance(a, b) for a, b in pairs])
    assert sliced_wasserstein(ours, theirs, power=1) == pytest.approx(wanted, rel=1e-6)


def test_a_shift_is_its_own_length_in_one_dimension():
    values = RNG.normal(size=(50, 1))
    for power in (1, 2):
        distance = sliced_wasserstein(values + 0.3, values, power=power)
        assert distance == pytest.approx(0.3**power, rel=1e-5)


def test_the_distance_is_symmetric_and_0_for_one_set_in_any_order():
    ours, theirs = RNG.normal(size=(2, 40, 3))
    assert sliced_wasserstein(ours, ours[::-1].reshape(8, 5, 3), power=1) == 0
    there, back = (
        sliced_wasserstein(a, b, power=2) for a, b in ((ours, theirs), (theirs, ours))
    )
    assert there == pytest.approx(back) and there > 0.01


def test_directions_have_one_length_and_are_even():
    """θ θᵀ is I/c on average: of K vectors to about √(1/K)/c."""
    for channels in (1, 3, 64):
        drawn = np.float64(unit_vectors(channels))
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-6)
        second = channels * drawn.T @ drawn / len(drawn)
        assert np.abs(second - np.eye(channels)).max() < 4 / math.sqrt(len(drawn))
    np.testing.assert_array_equal(drawn, unit_vectors(64))


def test_sets_of_other_dimensions_and_empty_sets_are_refused():
    for theirs in (np.ones((4, 2)), np.ones((0, 3))):
        with pytest.raises(nst_jax.RequestError, match=r"c, got \[5, 3\] and \[\d, \d"):
            sliced_wasserstein(np.ones((5, 3)), theirs, power=1)
