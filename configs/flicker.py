"""Flicker of a stylised film: four short films, five starts of a frame.

    python launch.py --config=configs/flicker.py

Each frame is optimised separately: from new noise, from the same noise in all frames,
from the same noise with one value moved by one unit in the last place, from the result
of the frame before, and from the content. The films stand still, move by two pixels a
frame, have sensor noise, or swing in brightness. In the still film, all motion comes
from the start.

The page begins with the answers in words and shows the films beside their contents. The
table counts the change from frame to frame in levels of 255, after motion compensation.
Of another film (a video, an animated GIF or a folder of pictures in natural order) the
first six frames are used, without motion compensation:

    python launch.py --config=configs/flicker.py --config.content=clip.mp4

Frames that do not start from each other form one batch. Eleven minutes on two CPU
cores.

One seed gives no confidence interval. Three seeds do, in three times the time:

    python launch.py --config=configs/flicker.py --config.seeds='(0, 1, 2)'
"""

import nst_jax

#: Film -> its motion and amount.
FILMS = {
    "still": ("still", 0.0),
    "shift 2 px": ("shift", 2.0),
    "sensor noise 0.02": ("sensor", 0.02),
    "brightness ±10 %": ("brightness", 0.1),
}
#: Policy -> kind of the start, and its change per frame.
POLICIES = {
    "new noise": ("noise", "noise"),
    "same noise": ("noise", "nothing"),
    "same noise, one rounding": ("noise", "rounding"),
    "from the frame before": ("previous", "nothing"),
    "from the content": ("content", "nothing"),
}
FRAMES = 6


def axes(films: dict[str, tuple[str, float]], frames: int) -> tuple[nst_jax.Vary, ...]:
    return (
        nst_jax.Vary(
            ("film.motion", "film.amount"), tuple(films.values()), tuple(films), "film"
        ),
        nst_jax.Vary(
            ("canvas.kind", "canvas.per_frame"),
            tuple(POLICIES.values()),
            tuple(POLICIES),
            "policy",
        ),
        nst_jax.Frames(frames),
    )


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(
            nst_jax.Content(weight=1000.0),
            nst_jax.Gram(),
            nst_jax.TotalVariation(weight=1.6e7),
        ),
        size=128,
        steps=30,
        solver=nst_jax.SolverOptions(name="lbfgs_fixed"),
        axes=axes(FILMS, FRAMES),
    )
    config = nst_jax.variant(config, arg)
    if arg == "smoke":  # All policies, with a still and a moving film.
        config.axes = axes(dict(list(FILMS.items())[:2]), 3)
    return config
