"""Models: losses, heads, networks and what they keep while training.

``from ltmm.models import X`` finds X in the packages below, and imports a package only when something in it is needed.
"""

from ltmm.registry import MODEL_PACKAGES
from ltmm.utils.environment import check_installed
from ltmm.utils.lazy import lazy_attributes

check_installed('torch')

__getattr__ = lazy_attributes(__name__, MODEL_PACKAGES)
