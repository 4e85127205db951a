"""Two builds of mmcv's ops, held against each other: the compiled extension and the stand-in of ltmm."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import mmcv.ops
import pytest

from ltmm.utils import mmcv_ops
from ltmm.utils.environment import has_compiled_ops

STAND_IN = mmcv_ops


@cache
def compiled_ops() -> ModuleType:
    """mmcv's compiled extension: the installed one, or the file ``_ext*.so`` that LTMM_COMPILED_OPS names."""
    if has_compiled_ops():
        return import_module('mmcv._ext')
    if not (path := os.environ.get('LTMM_COMPILED_OPS')):
        pytest.skip('needs compiled ops of mmcv: make install OPS=compiled, or LTMM_COMPILED_OPS=.../mmcv/_ext*.so')
    spec = spec_from_file_location('mmcv._ext', path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def ops_of(extension: ModuleType) -> Iterator[None]:
    """Let all of ``mmcv.ops`` call this extension."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith(f'{mmcv.ops.__name__}.') and 'ext_module' in vars(module):
                patch.setattr(module, 'ext_module', extension)
        yield
