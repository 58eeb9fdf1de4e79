"""Keys of random numbers, of one generator whatever JAX's default is."""

import jax


def seed_key(seed: int) -> jax.Array:
    """The key of one seed: by identity, so that no seed depends on another."""
    return jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), seed)
