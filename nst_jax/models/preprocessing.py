"""What a network wants of a picture: its range, mean and order of channels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.core.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a network wants of a picture: `(255-or-1 * rgb[order] - mean) / std`.

    Attributes:
      channel_order: "RGB" or "BGR".
      scale: the value that white has before the mean is taken off.
      mean: per channel, in the network's channel order and in units of `scale`.
      std: likewise.
    """

    channel_order: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.channel_order not in ("RGB", "BGR"):
            raise RequestError(
                f"preprocessing: channel_order must be 'RGB' or 'BGR', got "
                f"{self.channel_order!r}"
            )
        numbers = self.scale, *self.mean, *self.std
        if len(self.mean) != 3 or len(self.std) != 3 or not np.isfinite(numbers).all():
            raise RequestError(
                "preprocessing: mean and std must have three finite values each, got "
                f"mean {self.mean} and std {self.std}, scale {self.scale}"
            )
        if min(self.scale, *self.std) <= 0:
            raise RequestError(
                "preprocessing: scale and std must be positive, got "
                f"scale {self.scale} and std {self.std}"
            )

    def rescaled(self, input_scale: float, input_centred: bool) -> "Preprocessing":
        """What feeds a network otherwise than it was trained.

        Some tools do: features of a network of ReLUs grow about as its input does,
        but for the biases, and so a content loss by the square of `input_scale` and
        a Gram loss by its fourth power.

        Args:
          input_scale: how many times as strong as this.
          input_centred: whether the mean is taken off.

        Raises:
          RequestError: the scale is not positive.
        """
        if not 0 < input_scale < float("inf"):
            raise RequestError(
                f"input_scale must be positive and finite, got {input_scale}"
            )
        kept = input_scale if input_centred else 0.0
        return dataclasses.replace(
            self,
            scale=self.scale * input_scale,
            mean=tuple(kept * mean for mean in self.mean),  # type: ignore[arg-type]
        )


#: Caffe's VGG, and so the Keras and MatConvNet releases of it.
CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
#: torchvision's retrained VGG.
TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def preprocess(image: jax.Array, preprocessing: Preprocessing) -> jax.Array:
    """A picture [H, W, 3] in [0, 1] in the units and channel order of the network."""
    if preprocessing.channel_order == "BGR":
        image = image[..., ::-1]
    mean = jnp.asarray([[preprocessing.mean]], image.dtype)
    std = jnp.asarray([[preprocessing.std]], image.dtype)
    return (image * preprocessing.scale - mean) / std
