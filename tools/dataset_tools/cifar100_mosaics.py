"""Make the multi-label benchmark CIFAR-100 mosaics: python tools/dataset_tools/cifar100_mosaics.py

A mosaic is four images of CIFAR-100, 64x64 pixels, labeled by its one to four classes. 50 of the 100 classes are drawn
by the seed. In training, the most frequent class is in 1,000 mosaics and the rarest in 5 (imbalance factor 200, as in
COCO-MLT and VOC-MLT); validation and test set are balanced. Ten scenes of five classes make classes occur together.
Test mosaics use the test images of CIFAR-100; training and validation mosaics use 450 and 50 training images per class.
"""

import argparse
from pathlib import Path

import numpy as np

from ltmm.datasets import CIFAR100, LabelTable, long_tailed_counts
from ltmm.datasets.cifar100_mosaics import FOLDER, CIFAR100Mosaics
from ltmm.datasets.files import data_roots, install
from ltmm.datasets.mosaic_generation import draw_label_sets, draw_tiles, place_labels

SIZE_PROBABILITY = (0.2, 0.4, 0.3, 0.1)  # of one to four classes: 2.3 on average, as 2.05 in VOC-MLT
CLASSES_PER_SCENE = 5
AFFINITY = 4.0
VAL_IMAGES = 50  # of the 500 training images per class
VAL_COUNT, TEST_COUNT = 45, 140  # mosaics that hold each class


def generate(folder: str, num_classes: int, max_images: int, imbalance_factor: float, seed: int) -> None:
    """Write ``train.npz``, ``val.npz`` and ``test.npz``."""
    rng = np.random.default_rng(seed)
    cifar = {split: CIFAR100(split=split, download=False) for split in ('train', 'test')}
    members = {split: _images_by_class(dataset, rng) for split, dataset in cifar.items()}
    kept = np.sort(rng.permutation(len(members['train']))[:num_classes])
    scenes = rng.permutation(np.arange(num_classes) // CLASSES_PER_SCENE)
    tail_counts = rng.permutation(long_tailed_counts(max_images, num_classes, imbalance_factor))
    names = np.array(cifar['train'].metainfo['classes'])[kept]
    parts = dict(
        train=('train', tail_counts, [members['train'][c][VAL_IMAGES:] for c in kept]),
        val=('train', np.full(num_classes, VAL_COUNT), [members['train'][c][:VAL_IMAGES] for c in kept]),
        test=('test', np.full(num_classes, TEST_COUNT), [members['test'][c] for c in kept]),
    )
    for part, (source, counts, images) in parts.items():
        classes = place_labels(draw_label_sets(counts, SIZE_PROBABILITY, scenes, AFFINITY, rng), rng)
        classes = classes[rng.permutation(len(classes))]  # the last sets hold the frequent classes
        used, first, mosaics = np.unique(draw_tiles(classes, images, rng), return_index=True, return_inverse=True)
        np.savez_compressed(
            Path(folder, f'{part}.npz'),
            tiles=np.stack([cifar[source].get_data_info(i)['img'] for i in used]),
            mosaics=mosaics.reshape(classes.shape).astype(np.int32),
            labels=classes.ravel()[first],
            classes=names,
        )


def _images_by_class(dataset: CIFAR100, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the shuffled indices of the images of each class."""
    labels = dataset.get_gt_labels()
    return [rng.permutation(np.flatnonzero(labels == c)) for c in range(len(dataset.metainfo['classes']))]


def main() -> None:
    """Make the files and print their class distributions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, help='output folder; cifar100_mosaics/ beside the other data')
    parser.add_argument('--num-classes', type=int, default=50, help='number of classes (%(default)s)')
    parser.add_argument('--max-images', type=int, default=1000, help='mosaics of the most frequent class (%(default)s)')
    parser.add_argument('--imbalance-factor', type=float, default=200, help='most over least frequent (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (%(default)s)')
    args = parser.parse_args()
    if not 2 <= args.num_classes <= 100:
        parser.error(f'expected --num-classes to be 2 to 100, but got {args.num_classes}')
    out = args.out or data_roots()[0] / FOLDER
    install(out, lambda folder: generate(folder, args.num_classes, args.max_images, args.imbalance_factor, args.seed))
    for split in ('train', 'val', 'test'):
        table = LabelTable.from_dataset(CIFAR100Mosaics(split, data_root=str(out)))
        labels = len(table.labels) / len(table)
        print(f'{out / split}.npz: {table.class_distribution().summary()}; {labels:.2f} labels per mosaic')


if __name__ == '__main__':
    main()
