"""Argument parsers of the tools."""

import argparse
from typing import Any

from mmengine.config import DictAction

from .checks import check
from .trackers import TRACKERS

__all__ = ['add_model_options', 'common_parser', 'model_parser', 'parse_seed', 'parse_training_args']


class ConfigOptions(DictAction):
    """MMEngine's action of ``--cfg-options``, with a usage error for what is not ``key=value``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError):
            parser.error(f'{option_string} takes key=value, with balanced brackets, but got {" ".join(values)}')


def common_parser(description: str, needs_config: bool = True) -> argparse.ArgumentParser:
    """Build a parser with the arguments of OpenMMLab's ``tools/train.py`` and ``tools/test.py``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', nargs=None if needs_config else '?', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints; default: ./work_dirs/<folder of the config>/<its name>'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='override settings of the config: key=value, dots for nested keys, key="[a,b]" for lists',
    )
    parser.add_argument(
        '--skip-broken',
        type=int,
        metavar='N',
        help='skip at most N images per dataset that cannot be read; all images are loaded once to find them',
    )
    parser.add_argument('--verbose', action='store_true', help='show environment, config and hooks on the console too')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument(
        '--trust',
        action='store_true',
        help='run the code in checkpoints, .pkl and .yaml files; without it they are read as data, see SECURITY.md',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def parse_training_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add ``--seed`` and ``--tracker`` and parse the command line; both become ``cfg_options`` of the result."""
    parser.add_argument(
        '--seed', type=parse_seed, metavar='N', help='seed of the run; the same as --cfg-options randomness.seed=N'
    )
    parser.add_argument(
        '--tracker', nargs='+', choices=TRACKERS, help='log to these too; the same as trackers = [...] in the config'
    )
    args = parser.parse_args()
    for option, key, value in (('--seed', 'randomness.seed', args.seed), ('--tracker', 'trackers', args.tracker)):
        if value is not None:
            options = args.cfg_options or {}
            if key in options:
                parser.error(f'{option} and --cfg-options {key}={options[key]} set the same: give one of them')
            args.cfg_options = {**options, key: value}
    return args


def parse_seed(text: str) -> int:
    """Parse a seed of NumPy's range."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'expected a number from 0 to 2**32 - 1, but got {text}')
    return int(text)


def model_parser(description: str) -> argparse.ArgumentParser:
    """Build a parser for a tool that uses a trained model without its data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of the training')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_model_options(parser)
    parser.add_argument(
        '--size',
        type=image_size,
        metavar='HEIGHT[xWIDTH]',
        help='of the input, for data sets of arrays such as CIFAR (32): their pipeline does not resize',
    )
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tool that loads a trained model."""
    parser.add_argument('--device', help='such as cpu or cuda:1; default: the first GPU, or the CPU')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, help='override settings of the config')
    parser.add_argument('--verbose', action='store_true', help='show the messages of the frameworks')
    parser.add_argument('--trust', action='store_true', help='run the code in checkpoints, see SECURITY.md')


def image_size(text: str) -> tuple[int, int]:
    """Parse ``HEIGHT`` or ``HEIGHTxWIDTH``."""
    height, _, width = text.partition('x')
    size = int(height), int(width or height)
    check(size=(size, 'int >= 1'))
    return size
