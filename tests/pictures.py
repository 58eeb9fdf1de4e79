"""Synthetic pictures."""

import numpy as np


def smooth_picture(seed: int, height: int, width: int) -> np.ndarray:
    """Return a picture with structure: float32 [H, W, 3] in [0, 1], one per seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (a * x + b * y + c))
        for a, b, c in rng.uniform(0.5, 4, (3, 3))
    ]
    return (0.5 + 0.4 * np.stack(waves, axis=-1)).astype(np.float32)
