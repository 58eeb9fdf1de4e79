"""Views of random colour and features, without a network."""

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.losses import View

DEEP = ("relu1_2", "relu2_1")


def random_view(seed, height, width):
    """Return a view with two layers, `DEEP`, of 4 and 5 channels, float64."""
    normal = np.random.default_rng(seed).normal
    shapes = {"relu1_2": (height, width, 4), "relu2_1": (height // 2, width // 2, 5)}
    features = {layer: abs(normal(size=shape)) for layer, shape in shapes.items()}
    image = jnp.asarray(abs(normal(size=(height, width, 3))))
    return View(image, jax.tree.map(jnp.asarray, features))
