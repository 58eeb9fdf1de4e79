"""A few kills; `python tests/chaos.py --kills=100` has them by the hundred."""

import pytest
from chaos import Chaos


@pytest.fixture(scope="module")
def chaos(tmp_path_factory):
    return Chaos(tmp_path_factory.mktemp("chaos"), "lbfgs_fixed")


@pytest.mark.parametrize("number", range(3))
def test_a_run_that_is_killed_comes_to_the_same_bits(chaos, number):
    chaos.kill(number)
