"""Thousands of members: the work grows as their number, and no faster."""

import collections
import pathlib
import sys

import pytest
from conftest import smooth_picture

import nst_jax
from nst_jax.manifest import planned

PACKAGE = str(pathlib.Path(nst_jax.__file__).parent)


def count_calls(function):
    """Return how many of the package's functions are entered, and generators resumed.

    Unlike seconds, the count is the same on every machine.
    """
    entered = collections.Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered["calls"] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered["calls"]


def assert_linear(work):
    """Check that twice as many members are twice as many calls.

    Args:
      work: number of members -> the function to count the calls of.
    """
    few, twice, four_times = (count_calls(work(n)) for n in (32, 64, 128))
    assert 0 < four_times - twice <= 2.1 * (twice - few)


def experiment(**fields):
    return nst_jax.Experiment(
        **{
            "content": "samples/chelsea.png",
            "styles": ("samples/swirls.jpg",),
            "terms": (
                nst_jax.Content(layers=("relu1_1",)),
                nst_jax.Gram(layers=("relu1_1",)),
            ),
            "size": 16,
            "steps": 2,
            "solver": nst_jax.SolverOptions("adam"),
            **fields,
        }
    )


def many(kind, count):
    if kind == "Seeds":
        return experiment(axes=(nst_jax.Seeds(count),))
    if kind == "seeds":
        return experiment(seeds=tuple(range(count)))
    if kind == "weights":
        weights = tuple(1.0 + i for i in range(count // 8))
        axis = nst_jax.Vary("terms.style.weight", weights)
        return experiment(axes=(axis,), seeds=tuple(range(8)))
    if kind == "ladder":
        ladder = nst_jax.Ladder(sizes=(8,))
        return experiment(axes=(nst_jax.Seeds(count),), ladder=ladder)
    film = nst_jax.Film("shift", 1.0)
    return experiment(axes=(nst_jax.Frames(count),), film=film)


KINDS = ("Seeds", "seeds", "weights", "ladder", "frames")


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_made_in_linear_time(kind):
    assert_linear(lambda count: many(kind, count).members)


@pytest.mark.parametrize("kind", ["Seeds", "weights", "ladder", "frames"])
def test_a_plan_is_built_in_linear_time(kind, tmp_path):
    picture = str(tmp_path / "small.png")
    nst_jax.write_image(picture, smooth_picture(0, 16, 16))

    def work(count):
        asked = many(kind, count)
        asked.content = picture

        def run():
            plan = nst_jax.build(asked)
            planned(plan, "")
            for group in plan.groups:
                group.problems()

        return run

    work(8)()  # The network is read and traced once.
    assert_linear(work)
