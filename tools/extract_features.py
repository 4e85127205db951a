"""Extract the features of a frozen backbone: ``python tools/extract_features.py CONFIG [CHECKPOINT] --out DIR``.

Runs each split of the config through backbone and neck once, with the test pipeline, and writes <split>_features.npy
(N, D), <split>_labels.npy (N,) and <split>_info.json to DIR. ltmm.FeatureDataset reads them, so that a classifier
trains in seconds. Without a checkpoint, the model has the weights of the config's init_cfg.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.launch import common_parser, load_config

SPLITS = ('train', 'val', 'test')


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='output folder')
    parser.add_argument(
        '--splits', nargs='+', choices=SPLITS, help='default: all in the config, without val if it is the test set'
    )
    args = parser.parse_args()
    cfg = load_config(args)

    from mmengine.dist import is_main_process

    from ltmm.engine.post_process.validation_data import same_images
    from ltmm.engine.runner.model_outputs import idle_runner, loader_as_tested
    from ltmm.engine.stages.feature_extraction import extract_features
    from ltmm.utils.wrappers import unwrap_model

    datasets = {split: cfg[f'{split}_dataloader']['dataset'] for split in SPLITS if cfg.get(f'{split}_dataloader')}
    if not args.splits and 'val' in datasets and same_images(datasets['val'], datasets['test']):
        del datasets['val']
    runner = idle_runner(cfg)
    if args.checkpoint:
        runner.load_checkpoint(args.checkpoint)
    else:
        runner._init_model_weights()
    model = unwrap_model(runner.model)
    for split in args.splits or datasets:
        if split not in datasets:
            parser.error(f'{args.config} has no {split}_dataloader')
        loader = loader_as_tested(cfg, datasets[split])
        runner.logger.info(f'{split}: {len(loader.dataset)} images')
        info = extract_features(
            model, loader, args.out, split, dict(config=args.config, checkpoint=args.checkpoint or 'init_cfg')
        )
        if is_main_process():
            print(f'{args.out}: {split}, {info["num_samples"]} x {info["width"]}, {len(info["classes"])} classes')


if __name__ == '__main__':
    with one_line_errors():
        main()
