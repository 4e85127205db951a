"""Extract the features of a frozen backbone: ``python tools/extract_features.py CONFIG [CHECKPOINT] --out DIR``.

Runs each split of the config through backbone and neck once, with the test pipeline, and writes <split>_features.npy
(N, D), <split>_labels.npy (N,) and <split>_info.json to DIR. ltmm.FeatureDataset reads them, so that a classifier
trains in seconds. Without a checkpoint, the model has the weights of the config's init_cfg.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import load_config
from ltmm.utils.parsers import common_parser


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='output folder')
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=['train', 'val', 'test'],
        help='default: all in the config, without val if it is the test set',
    )
    parser.add_argument('--allow-random', action='store_true', help='extract features of random weights too')
    args = parser.parse_args()
    cfg = load_config(args)

    from ltmm.engine.stages.feature_extraction import extract_splits

    extract_splits(cfg, args.checkpoint, args.out, args.splits, args.allow_random)


if __name__ == '__main__':
    with one_line_errors():
        main()
