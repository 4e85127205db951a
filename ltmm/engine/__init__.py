from ltmm.utils.checkpoints import use_safe_loader

from .hooks import *
from .optimizers import *
from .runner import *
from .schedulers import *

use_safe_loader()  # for every runner of a config with hooks of ltmm, also that of mmdet's tools/train.py
