"""Runs whose dispersion across seeds is known, for tests of studies."""

import math
import re

import numpy as np
from scipy import stats

LEVELS = (100, 103, 108, 104)
SEED = ("seeds", "seed", ["0", "1", "2", "3"])


def flat(level, size=16):
    return np.full((size, size, 3), level / 255, np.float32)


def scaled(run, factors):
    """Return results of levels around 104, scaled by a factor for each setting."""
    return {
        m.member: flat(104 + factors[m.index[0]] * (LEVELS[m.index[1]] - 104))
        for m in run.members
    }


def interval_factor(statistic, values):
    """Return end / value of the 95 % jackknife interval of a positive statistic."""
    replicates = [math.log(statistic(np.delete(values, i))) for i in range(len(values))]
    error = math.sqrt((len(values) - 1) * np.var(replicates))
    return math.exp(stats.t.ppf(0.975, len(values) - 1) * error)


def parsed(cell):
    """Return the value and the interval ends of a cell."""
    return tuple(float(number) for number in re.findall(r"[\d.]+", cell))


def noisy(run, spreads, contrast=0.2):
    """Return results that are a common picture and noise of each seed's own.

    Args:
      run: manifest, whose last axis are seeds.
      spreads: (share of the noise in the variance, factor of the contrast) of each
        setting, or of each member; noise alone is unrelated.
      contrast: standard deviation of a picture before the factor, at most 0.2.
    """
    rng = np.random.default_rng(0)
    common = rng.normal(size=(16, 24, 3))
    finals = {}
    for member in run.members:
        by_member = len(spreads) == len(run.members)
        share, factor = spreads[member.member if by_member else member.index[0]]
        own = rng.normal(size=common.shape)
        mixture = math.sqrt(1 - share) * common + math.sqrt(share) * own
        finals[member.member] = 0.5 + factor * contrast * np.clip(mixture, -2.5, 2.5)
    return finals
