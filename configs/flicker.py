"""Why does a stylised film flicker? Four small films, five ways to start a frame.

    python launch.py --config=configs/flicker.py

Frame by frame, each optimised for itself: from new noise, from one noise for all
frames, from the same noise with one starting value moved by one unit in the last place,
from the result of the frame before, and from the content. The films are a picture that
stands still, moves by two pixels a frame, has a sensor's noise, or swings in
brightness. Where the content stands still, all that moves is due to the start.

The page begins with the answers in words, and has the films beside their contents; the
table counts what changes from frame to frame in levels of 255, what the camera moved
taken back. Of your own film, a video, an animated GIF or a folder of pictures in the
natural order of their names, it takes the first six frames:

    python launch.py --config=configs/flicker.py --config.content=clip.mp4

Its own motion is not known and so not taken back. Where frames do not start from each
other they are one batch. Eleven minutes on two CPU cores.

It has one seed, of which there is no interval. Three of them have intervals, in three
times the time:

    python launch.py --config=configs/flicker.py --config.seeds='(0, 1, 2)'
"""

import nst_jax

#: What moves in the content, and by how much.
FILMS = {
    "still": ("still", 0.0),
    "shift 2 px": ("shift", 2.0),
    "sensor noise 0.02": ("sensor", 0.02),
    "brightness ±10 %": ("brightness", 0.1),
}
#: What a frame starts from, and what of it is its own.
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
    if arg == "smoke":  # All ways to start, of a film that stands still and one not.
        config.axes = axes(dict(list(FILMS.items())[:2]), 3)
    return config
