"""Flicker of videos, and the part of it that the starting noise causes."""

import math
from collections.abc import Sequence

import numpy as np

from nst_jax.metrics.flicker import align_frames, flicker_map, side_by_side
from nst_jax.metrics.statistics import jackknife
from nst_jax.studies.formatting import (
    format_interval,
    format_percent,
    round_digits,
    to_levels,
)
from nst_jax.studies.frame_sequences import FrameSequence, frame_sequences
from nst_jax.studies.results import Clip, Picture, Plot, Series, StudyResult, Table
from nst_jax.studies.run_data import RunData

#: Flicker maps, and videos beside their contents, at most.
MAX_MAPS, MAX_CLIPS = 6, 4


def study_flicker(run_data: RunData) -> StudyResult:
    """Measure the change of each video between frames, beside its content's.

    Values are of exact canvases after motion compensation. Videos with a missing frame
    are left out.
    """
    axis = run_data.find_axis("frame")
    if axis is None or run_data.trajectory is None:
        return StudyResult()
    sequences = frame_sequences(run_data, axis)
    if not sequences:
        return StudyResult()
    names = [run_data.run["axes"][i]["name"] for i in run_data.other_axes(axis)]
    return StudyResult(
        (*_noise_sentences(sequences), *_policy_sentences(sequences)),
        (_table(sequences, names),),
        _spectrum_plots(sequences),
        pictures=_flicker_maps(sequences),
        clips=_clips(sequences),
    )


def _table(sequences: Sequence[FrameSequence], names: Sequence[str]) -> Table:
    has_interval = any(sequence.change.low is not None for sequence in sequences)
    records = []
    for sequence in sequences:
        change = sequence.change
        record = {
            "change of the content": to_levels(sequence.content_change),
            "change of the result": to_levels(change.value),
        }
        if has_interval:
            record |= {"95 % from": to_levels(change.low), "to": to_levels(change.high)}
        record["ratio"] = round_digits(sequence.ratio)
        variances = [seed.std**2 for seed in sequence.flickers]
        record["temporal std"] = to_levels(math.sqrt(np.mean(variances)))
        records.append((sequence.labels or ("all",), record))
    title = "Change between frames (levels of 255, after motion compensation)"
    return Table.from_records(title, names or ["film"], records)


def _policy_sentences(sequences: Sequence[FrameSequence]) -> list[str]:
    """A sentence for each policy, over all films."""
    by_policy: dict[str, list[str]] = {}
    for sequence in sequences:
        changes = by_policy.setdefault(sequence.policy, [])
        changes.append(_format_change(sequence, "" if changes else " levels of 255"))
    return [
        (f"{policy[0].upper()}{policy[1:]}: mean" if policy else "Mean")
        + f" absolute change between frames {', '.join(changes)}."
        for policy, changes in by_policy.items()
    ]


def _format_change(sequence: FrameSequence, unit: str) -> str:
    change = sequence.change
    notes = [sequence.film] if sequence.film else []
    if interval := format_interval(change, to_levels):
        notes.append(interval)
    if sequence.motion is not None:
        notes.append("after motion compensation")
    if sequence.ratio is not None:
        notes.append(f"{sequence.ratio:.2g} times the change of the content")
    elif sequence.has_one_content or sequence.motion is not None:
        notes.append("the content does not change")
    else:
        notes.append("the content changes by less than a level")
    return f"{to_levels(change.value)}{unit} ({'; '.join(notes)})"


def _noise_sentences(sequences: Sequence[FrameSequence]) -> list[str]:
    """Flicker that the starting noise causes in videos of a still content."""
    by_start: dict[tuple[str, ...], dict[str, FrameSequence]] = {}
    for sequence in sequences:
        is_still = sequence.has_one_content and sequence.motion is None
        is_noisy = sequence.canvas["kind"] in ("noise", "blend")
        if is_still and is_noisy and not sequence.content_change:
            key = sequence.film, sequence.method, *_start_fields(sequence)
            policies = by_start.setdefault(key, {})
            policies.setdefault(sequence.canvas["per_frame"], sequence)
    sentences = []
    for (_, method, *start), policies in by_start.items():
        varied = [x for x in start if not all(x in key for key in by_start)]
        setting = ", ".join(filter(None, (method, *varied)))
        head = f"Same content in every frame{f' ({setting})' if setting else ''}"
        changes = {
            policy: f"flicker of {to_levels(sequence.change.value)} levels of 255"
            for policy, sequence in policies.items()
        }
        new, rounding, same = map(policies.get, ("noise", "rounding", "nothing"))
        if new:
            sentences.append(f"{head}, new starting noise in each: {changes['noise']}.")
        if rounding:
            share = ""
            if new and new.change.value:
                share = f", {_format_share(rounding, new)} of the flicker of new noise"
            sentences.append(
                f"{head}, same starting noise with one value moved by 1 ulp: "
                f"{changes['rounding']}{share}."
            )
        if same:
            outcome = f"frames are not bit-identical; {changes['nothing']}"
            if all((video == video[0]).all() for video in same.frames):
                outcome = "all frames are bit-identical"
            sentences.append(f"{head}, same starting noise: {outcome}.")
    return sentences


def _start_fields(sequence: FrameSequence) -> list[str]:
    """Config fields of the starting image that all frames share."""
    fields = sequence.canvas.items()
    return [f"canvas.{name} {value}" for name, value in fields if name != "per_frame"]


def _format_share(sequence: FrameSequence, reference: FrameSequence) -> str:
    """Change relative to a reference; the jackknife omits a seed from both."""
    if sequence.seeds != reference.seeds:
        return f"{format_percent(sequence.change.value / reference.change.value)} %"
    changes = np.array([[f.change for f in s.flickers] for s in (sequence, reference)])

    def ratio(seeds: np.ndarray) -> float:
        numerator, denominator = changes[:, seeds].mean(1)
        return float(numerator / denominator) if denominator else math.inf

    share = jackknife(ratio, len(sequence.seeds), positive=True)
    interval = format_interval(share, format_percent)
    return f"{format_percent(share.value)} %" + (f" ({interval})" if interval else "")


def _spectrum_plots(sequences: Sequence[FrameSequence]) -> tuple[Plot, ...]:
    """Temporal power spectra: a plot for each film, a curve for each policy."""
    by_film: dict[str, list[Series]] = {}
    for sequence in sequences:
        frequencies = sequence.flickers[0].spectrum[0][1:]  # Without the mean.
        spectra = [seed.spectrum[1][1:] for seed in sequence.flickers]
        power = 255**2 * np.mean(spectra, axis=0)
        if power.any():
            y = tuple(float(p) if p > 0 else None for p in power)
            series = by_film.setdefault(sequence.film, [])
            series.append(Series(sequence.policy, frequencies, y))
    labels = "cycles per frame", "power (levels of 255, squared)"
    return tuple(
        Plot(
            "Spectrum of the flicker" + (f": {film}" if film else ""), tuple(s), *labels
        )
        for film, s in by_film.items()
    )


def _flickering(sequences: Sequence[FrameSequence]) -> list[FrameSequence]:
    """First video of each policy that flickers."""
    first: dict[str, FrameSequence] = {}
    for sequence in sequences:
        if sequence.flickers[0].change:
            first.setdefault(sequence.policy, sequence)
    return list(first.values())


def _flicker_maps(sequences: Sequence[FrameSequence]) -> tuple[Picture, ...]:
    pictures = []
    for sequence in _flickering(sequences)[:MAX_MAPS]:
        frames = sequence.frames[0]
        if sequence.motion is not None:
            frames = align_frames(frames, sequence.motion)
        changes = flicker_map(frames)
        gain = 1 / changes.max()
        grey = np.repeat((gain * changes)[..., None], 3, axis=2).astype(np.float32)
        title = f"{sequence.title}: mean change between frames, × {gain:.3g}"
        pictures.append(Picture(title, grey))
    return tuple(pictures)


def _clips(sequences: Sequence[FrameSequence]) -> tuple[Clip, ...]:
    clips = []
    for sequence in _flickering(sequences)[:MAX_CLIPS]:
        frames, gain = side_by_side(sequence.contents, sequence.frames[0])
        title = f"{sequence.title}: content, result, and its change × {gain:.3g}"
        clips.append(Clip(title, frames))
    return tuple(clips)
