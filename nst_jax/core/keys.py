"""Random keys, independent of JAX's default generator."""

import jax


def seed_key(seed: int) -> jax.Array:
    """Return the key of a seed, which does not depend on the other seeds of a run."""
    return jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), seed)
