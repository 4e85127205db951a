from ltmm.utils.environment import check_installed

check_installed('torch')

from ltmm.utils.checkpoints import use_safe_loader  # noqa: E402

from .hooks import *  # noqa: E402
from .optimizers import *  # noqa: E402
from .runner import *  # noqa: E402
from .schedulers import *  # noqa: E402

use_safe_loader()  # for every runner of a config with hooks of ltmm, also that of mmdet's tools/train.py
