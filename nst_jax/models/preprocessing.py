"""Conversion of an image to a network's range, mean and channel order."""

import dataclasses
import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import Range, check_fields


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The input that a network expects: `(scale * image[channel_order] - mean) / std`.

    Attributes:
      channel_order: "RGB" or "BGR".
      scale: value of white before the mean is subtracted, 1 or 255.
      mean: per channel, in the network's channel order and in units of `scale`.
      std: per channel, in the same order and units.
    """

    channel_order: Literal["RGB", "BGR"]
    scale: Annotated[float, Range(above=0, below=math.inf)]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        check_fields(self, "preprocessing.")
        values = *self.mean, *self.std
        if len(self.mean) != 3 or len(self.std) != 3 or not np.isfinite(values).all():
            raise RequestError(
                "preprocessing: mean and std must be three finite numbers each, got "
                f"{self.mean} and {self.std}"
            )
        if min(self.std) <= 0:
            raise RequestError(f"preprocessing.std must be positive, got {self.std}")

    def rescaled(self, input_scale: float, input_centred: bool) -> "Preprocessing":
        """Return a preprocessing that some tools use instead of the trained one.

        Apart from biases, features grow in proportion to `input_scale`, a content loss
        with its square and a Gram loss with its fourth power.

        Args:
          input_scale: factor of the network's input, positive.
          input_centred: whether to subtract the mean.

        Raises:
          RequestError: the scale is not positive and finite.
        """
        if not 0 < input_scale < math.inf:
            raise RequestError(
                f"input_scale must be above 0 and finite, got {input_scale}"
            )
        mean_scale = input_scale if input_centred else 0.0
        return dataclasses.replace(
            self,
            scale=self.scale * input_scale,
            mean=tuple(mean_scale * mean for mean in self.mean),  # type: ignore[arg-type]
        )


#: The original VGG of Caffe, and its Keras and MatConvNet releases.
CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
#: torchvision's retrained VGG.
TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def preprocess(image: jax.Array, preprocessing: Preprocessing) -> jax.Array:
    """Convert an image [H, W, 3] in [0, 1] to the network's input."""
    if preprocessing.channel_order == "BGR":
        image = image[..., ::-1]
    mean = jnp.asarray([[preprocessing.mean]], image.dtype)
    std = jnp.asarray([[preprocessing.std]], image.dtype)
    return (image * preprocessing.scale - mean) / std
