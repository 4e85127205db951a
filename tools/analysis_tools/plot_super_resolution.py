"""Draw a test image with its focal weights, and what trained models of super-resolution make of it.

python tools/analysis_tools/plot_super_resolution.py --model L1 CONFIG CHECKPOINT --model FPL CONFIG CHECKPOINT

The learnable weights are those of the last model. Images and results are those of the first one's test set.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from torch.utils.data import default_collate

from ltmm.registry import DATASETS, MODELS
from ltmm.tasks.super_resolution import plot_super_resolution
from ltmm.utils.checkpoints import read_checkpoint
from ltmm.utils.cli import one_line_errors


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--model',
        nargs=3,
        action='append',
        required=True,
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'),
        help='a trained model; once for each',
    )
    parser.add_argument('--image', type=int, default=0, help='index of the image in the test set')
    parser.add_argument('--size', type=int, default=160, help='edge of the part that is drawn, in pixels')
    parser.add_argument('--out', type=Path, default=Path('super_resolution.png'), help='image file (.png, .pdf)')
    return parser.parse_args(argv)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sample, results = None, {}
    for name, config, checkpoint in args.model:
        cfg = Config.fromfile(config)
        if sample is None:
            sample = default_collate([DATASETS.build(cfg.test_dataloader.dataset)[args.image]])
        model = MODELS.build(cfg.model).eval()
        model.load_state_dict(read_checkpoint(checkpoint)['state_dict'])
        (results[name],) = model(**sample, mode='predict')
    plot_super_resolution(results, args.out, weights_of=name, size=args.size)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    with one_line_errors():
        main()
