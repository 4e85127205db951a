"""Keep the console to progress and results; write all other messages of OpenMMLab to the log file only."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ltmm.registry import DATASET_PACKAGES

__all__ = ['import_all', 'quiet_imports', 'quiet_runner']

LOG_FILE_ONLY = (  # prefixes of messages
    '\n' + '-' * 60 + '\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order:',
    'Exp name: ',
    'Using env variable `LTMM_DATA_ROOT`',
    'Distributed training is not used, all SyncBatchNorm',
    'paramwise_options -- ',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)
FRAMEWORKS = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'PIL', 'pycocotools')


def is_verbose() -> bool:
    """Whether ``--verbose`` was given, to this process or, by ``$LTMM_VERBOSE``, to the one that started it."""
    return bool(os.environ.get('LTMM_VERBOSE'))


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide what the frameworks print while they are imported, and their warnings from then on."""
    if is_verbose():
        yield
        return
    for framework in FRAMEWORKS:
        warnings.filterwarnings('ignore', module=rf'{framework}(\.|$)')
    hide_noise(MMLogger.get_current_instance())
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def import_all() -> None:
    """Import the packages whose registries a training reads."""
    for package in (*DATASET_PACKAGES, 'ltmm.engine', 'ltmm.evaluation.metrics', 'ltmm.models'):
        import_module(package)


def hide_noise(logger: logging.Logger) -> None:
    """Keep :data:`LOG_FILE_ONLY` from the console."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: not record.getMessage().startswith(LOG_FILE_ONLY))


class QuietLogger:
    """Mixin for runners: hides :data:`LOG_FILE_ONLY` on the console."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger; log where the hidden messages are."""
        logger = super().build_logger(*args, **kwargs)
        hide_noise(logger)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                logger.info(f'Environment, config and hooks are in {handler.baseFilename}; --verbose shows them.')
        return logger


def quiet_runner(runner_class: type[Runner]) -> type[Runner]:
    """Return the runner with a quiet console, unless ``--verbose`` was given."""
    if is_verbose():
        return runner_class
    return type(runner_class.__name__, (QuietLogger, runner_class), dict(__module__=runner_class.__module__))
