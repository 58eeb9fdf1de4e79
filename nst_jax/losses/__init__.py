"""Loss terms, and the objective that sums them."""

from nst_jax.losses.base import LayerTerm as LayerTerm
from nst_jax.losses.base import Term as Term
from nst_jax.losses.base import View as View
from nst_jax.losses.base import static as static
from nst_jax.losses.base import term as term
from nst_jax.losses.content import Content as Content
from nst_jax.losses.conventions import CONVENTIONS as CONVENTIONS
from nst_jax.losses.correlation import CrossLayerGram as CrossLayerGram
from nst_jax.losses.correlation import ShiftedGram as ShiftedGram
from nst_jax.losses.histogram import Histogram as Histogram
from nst_jax.losses.moments import Covariance as Covariance
from nst_jax.losses.moments import MeanStd as MeanStd
from nst_jax.losses.nearest import NearestFeatures as NearestFeatures
from nst_jax.losses.objective import Objective as Objective
from nst_jax.losses.objective import Regions as Regions
from nst_jax.losses.photorealism import Photorealism as Photorealism
from nst_jax.losses.sliced import SlicedWasserstein as SlicedWasserstein
from nst_jax.losses.statistics import gram as gram
from nst_jax.losses.strotss import RelaxedEMD as RelaxedEMD
from nst_jax.losses.strotss import SelfSimilarity as SelfSimilarity
from nst_jax.losses.style import Gram as Gram
from nst_jax.losses.style import StyleTerm as StyleTerm
from nst_jax.losses.variation import TotalVariation as TotalVariation
from nst_jax.losses.wasserstein import Wasserstein as Wasserstein
