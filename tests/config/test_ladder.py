"""Options of a ladder that change the objective and the start of its stages."""

import numpy as np
import pytest

import nst_jax
from nst_jax.images.initialise import finest_band


def experiment(**ladder):
    return nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(nst_jax.Content(3.0), nst_jax.Gram(2.0)),
        size=64,
        steps=2,
        ladder=nst_jax.Ladder((32, 48), steps=(1,), **ladder),
    )


def test_term_weights_multiply_the_weights_of_coarse_stages():
    stages = experiment(term_weights=((1.0, 0.5), (2.0, 0.0))).stages()
    weights = [[term.weight for term in stage.terms] for stage in stages]
    assert weights == [[3, 1], [6, 0], [3, 2]]


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ({"term_weights": ((1.0,), (1.0,))}, "ladder.term_weights must have 2 factors"),
        (
            {"term_weights": ((1.0, 1.0),)},
            "ladder.term_weights has 1 entries for the 2",
        ),
        (
            {"term_weights": ((1.0, -1.0),) * 2},
            r"term_weights\[0\]\[1\] must be .* -1.0",
        ),
        ({"content_mix": 1.5}, "ladder.content_mix must be .* got 1.5"),
        ({"min_positions": -1.0}, "ladder.min_positions must be .* got -1.0"),
    ],
)
def test_wrong_options_are_refused(ladder, message):
    with pytest.raises(nst_jax.RequestError, match=message):
        experiment(**ladder).check()


def test_layers_with_few_positions_have_no_weight():
    """The content is 64×43 px: relu3_1 has 176 positions for 256 channels."""
    (group,) = nst_jax.build(experiment(min_positions=0.5)).groups
    weights = [stage.objectives[0].terms[1].layer_weights for stage in group.stages]
    positions = np.array([h * w for h, w, _ in (s.content.shape for s in group.stages)])
    ratios = positions[:, None] / (
        np.array([1, 4, 16, 64, 256]) * np.array([64, 128, 256, 512, 512])
    )
    np.testing.assert_array_equal(weights, ratios >= 0.5)
    assert (ratios[-1] >= 0.5).sum() == 3  # The last stage keeps three of five layers.
    content_terms = [stage.objectives[0].terms[0] for stage in group.stages]
    assert all(term.layer_weights == () for term in content_terms)


def test_steps_of_zero_evaluate_the_start_at_the_full_size():
    config = experiment(content_mix=0.25)
    config.steps = 0
    assert [(stage.size, stage.steps) for stage in config.stages()] == [(64, 0)]


def test_later_stages_mix_in_their_own_content():
    (group,) = nst_jax.build(experiment(content_mix=0.25)).groups
    first, *later = group.stages
    assert first.problems()[0].coarse_blend is None
    for stage in later:
        picture, share, details = stage.problems()[0].coarse_blend
        np.testing.assert_array_equal(picture, stage.content)
        assert (share, details) == (0.25, 0)


def test_later_stages_add_their_own_details():
    (group,) = nst_jax.build(experiment(content_details=True)).groups
    assert group.stages[0].problems()[0].coarse_blend is None
    for stage in group.stages[1:]:
        _, share, details = stage.problems()[0].coarse_blend
        assert share == 0
        np.testing.assert_array_equal(details, finest_band(stage.content))
