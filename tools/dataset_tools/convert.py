"""Convert annotations: python tools/dataset_tools/convert.py my_yolo --from yolo --to coco --out my.json

Formats: coco (a json file), voc (a folder of xml files), yolo (a folder of text files), folders (one per class), csv.
"""

import argparse
from pathlib import Path

from ltmm.datasets.convert import READERS, WRITERS, read_annotations, write_annotations
from ltmm.utils.cli import one_line_errors


def main() -> None:
    """Read, write, and say what was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='json or CSV file, or folder')
    parser.add_argument('--from', dest='source_format', required=True, choices=READERS, help='format of the source')
    parser.add_argument('--to', required=True, choices=WRITERS, help='format to write')
    parser.add_argument('--out', required=True, type=Path, help='new .json or .csv file, or new folder')
    parser.add_argument('--images-from', type=Path, help='folder of the images, if it is not beside the annotations')
    parser.add_argument('--split', help='part to read, such as train: a folder, a list of VOC, or the column split')
    parser.add_argument('--classes', nargs='+', help='classes to keep, in label order')
    parser.add_argument('--copy', action='store_true', help='copy the images in place of symbolic links')
    args = parser.parse_args()
    annotations = read_annotations(args.source, args.source_format, args.images_from, args.split, args.classes)
    losses = write_annotations(annotations, args.to, args.out, args.copy)
    print(f'Wrote {args.out}: {annotations.summary()}.')
    if args.to in ('coco', 'csv'):
        print(f'Image paths are relative to {annotations.folder}.')
    for line in losses:
        print(f'Lost: {line}')


if __name__ == '__main__':
    with one_line_errors():
        main()
