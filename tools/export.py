"""Export a trained model: ``python tools/export.py CONFIG CHECKPOINT --format onnx --out model.onnx``.

onnx and torch.export take classifiers; experts are aggregated and corrections made inside the graph. weights writes a
checkpoint and a config that load without ltmm, where mmpretrain or mmdet has such a model. Each is compared with the
model on real images. See docs/guides/export.md.
"""

from pathlib import Path

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import read_config
from ltmm.utils.parsers import model_parser


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument('--format', choices=['onnx', 'torch.export', 'weights'], required=True)
    parser.add_argument('--out', type=Path, required=True, help='file to write: .onnx, .pt2 (torch.export), .pth')
    parser.add_argument(
        '--with-preprocessing',
        action='store_true',
        help='take RGB images of 0 to 255 (uint8), and normalize them inside the graph',
    )
    parser.add_argument('--images', nargs='+', default=[], help='images to compare on; default: 16 of the test set')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='largest difference of a score (1e-4)')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing file')
    args = parser.parse_args()
    for file in [args.out] + ([args.out.with_suffix('.py')] if args.format == 'weights' else []):
        if file.exists() and not args.overwrite:
            parser.error(f'{file} exists: choose another name, or write over it by --overwrite')
    cfg = read_config(args)

    from ltmm.apis.export import check_export, example_inputs, export_model  # slow to import
    from ltmm.apis.image_files import find_images
    from ltmm.apis.trained_model import load_trained_model

    check_export(cfg, args.format, args.out, args.with_preprocessing, args.tolerance)
    trained = load_trained_model(cfg, args.checkpoint, args.device or 'cpu')
    packed = example_inputs(trained, find_images(args.images), args.size)
    print(export_model(trained, args.format, args.out, packed, args.with_preprocessing, args.tolerance))


if __name__ == '__main__':
    with one_line_errors():
        main()
