"""Checks of values against type annotations."""

import dataclasses
import math
import typing
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax
from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range, check_choice, check_fields, field_types
from nst_jax.ensemble.strategies import STRATEGIES
from nst_jax.images.colour import COLOURS
from nst_jax.images.decoder import MAX_PIXELS
from nst_jax.images.image import FITS
from nst_jax.images.initialise import CENTRES
from nst_jax.images.io import RESAMPLERS
from nst_jax.losses.guides import PROPAGATIONS
from nst_jax.models.vgg import PADDINGS
from nst_jax.optim.parametrisation import PARAMETRISATIONS
from nst_jax.optim.solvers import SOLVERS


@dataclasses.dataclass(frozen=True)
class Sample:
    count: Annotated[int, Range(1, 9)] = 1
    rate: Annotated[float, Range(above=0, below=math.inf)] = 0.5
    share: Annotated[float, Range(0, below=1)] = 0.0
    name: Literal["adam", "sgd"] = "adam"
    switch: bool | None = None
    sizes: tuple[Annotated[int, Range(0)], ...] = ()
    anything: Any = None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"count": 0}, "x.count must be from 1 to 9, got 0"),
        ({"count": 1.0}, "x.count must be an integer, got 1.0"),
        ({"count": True}, "x.count must be an integer, got True"),
        ({"rate": 0.0}, "x.rate must be above 0 and finite, got 0.0"),
        ({"rate": math.nan}, "x.rate must be above 0 and finite, got nan"),
        ({"rate": math.inf}, "x.rate must be above 0 and finite, got inf"),
        ({"rate": "1"}, "x.rate must be a number, got '1'"),
        ({"share": 1.0}, "x.share must be at least 0 and below 1, got 1.0"),
        ({"name": "adm"}, "x.name must be one of ('adam', 'sgd'), got 'adm'; did you "),
        ({"name": 3}, "x.name must be one of ('adam', 'sgd'), got 3"),
        ({"switch": 1}, "x.switch must be True or False, got 1"),
        ({"sizes": 3}, "x.sizes must be a tuple, got 3"),
        ({"sizes": (3, -1)}, "x.sizes[1] must be at least 0, got -1"),
    ],
)
def test_a_value_outside_its_annotation_is_one_sentence(fields, says):
    with pytest.raises(RequestError) as refused:
        check_fields(Sample(**fields), "x.")
    assert str(refused.value).startswith(says)


def test_allowed_values_pass():
    check_fields(Sample())
    check_fields(Sample(count=np.int64(9), rate=np.float32(2), switch=False))
    check_fields(Sample(rate=jnp.asarray(-1.0), sizes=(0, 5), anything=object()))


def test_a_choice_is_answered_with_the_nearest():
    check_choice("kind", "a", {"a": 1, "b": 2})
    with pytest.raises(RequestError, match="did you mean 'noise'"):
        check_choice("kind", "noisy", ("content", "noise"))


@pytest.mark.parametrize(
    ("record", "field", "choices"),
    [
        (nst_jax.Experiment, "parametrisation", PARAMETRISATIONS),
        (nst_jax.Experiment, "colour", COLOURS),
        (nst_jax.Experiment, "fit", FITS),
        (nst_jax.Experiment, "resample", RESAMPLERS),
        (nst_jax.Experiment, "padding", PADDINGS),
        (nst_jax.EnsembleOptions, "strategy", STRATEGIES),
        (nst_jax.Masks, "propagation", PROPAGATIONS),
        (nst_jax.SolverOptions, "name", (*SOLVERS, "custom")),
        (nst_jax.Canvas, "centre", CENTRES),
    ],
)
def test_a_config_offers_the_choices_of_the_engine(record, field, choices):
    assert set(typing.get_args(field_types(record)[field])) == set(choices)


def test_a_config_limits_pixels_as_the_decoder_does():
    assert nst_jax.Experiment("", (), ()).max_pixels == MAX_PIXELS
