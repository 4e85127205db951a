"""AP of boxes on 1,000 images in LVIS's protocol, 300 detections each, against the ``lvis`` package.

``python tools/benchmarks/lvis_evaluation.py 19809`` evaluates as many images as LVIS v1's val set has, AP_fixed too.
"""

import csv
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from pair import Pair, peak_memory

from ltmm.evaluation.lvis.hotcoco_eval import HotcocoEvaluator
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator

COUNTS = Path(__file__).parents[1] / 'dataset_tools' / 'lvis_v1_counts.csv'
NUM_IMAGES, NUM_CLASSES, SIZE = 1_000, 1_203, 640
OBJECTS, DETECTIONS, NEAR, ABSENT = 12, 300, 75, 20  # per image


def random_data(num_images: int) -> tuple[GroundTruth, Detections]:
    """Objects of classes as frequent as in LVIS v1; detections near them and anywhere, of the same classes."""
    rng = np.random.default_rng(0)
    with open(COUNTS, newline='') as file:
        frequency = np.array([int(row['instance_count']) for row in csv.DictReader(file)])

    def draw(per_image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image ids, category ids and boxes."""
        n = num_images * per_image
        boxes = np.concatenate([rng.uniform(0, 400, (n, 2)), rng.uniform(5, 200, (n, 2))], axis=1)
        classes = rng.choice(NUM_CLASSES, n, p=frequency / frequency.sum()) + 1
        return np.repeat(np.arange(1, num_images + 1), per_image), classes, boxes

    images, classes, boxes = draw(OBJECTS)  # (G,), (G,), (G, 4)
    keys = np.unique(images * (NUM_CLASSES + 1) + classes)
    absent = np.repeat(np.arange(1, num_images + 1), ABSENT) * (NUM_CLASSES + 1)
    absent = np.setdiff1d(absent + rng.integers(1, NUM_CLASSES + 1, len(absent)), keys)
    no = np.zeros(len(images), dtype=bool)
    truth = GroundTruth(
        image_ids=np.arange(1, num_images + 1),
        sizes=np.full((num_images, 2), SIZE),
        category_ids=np.arange(1, NUM_CLASSES + 1),
        images=images,
        categories=classes,
        boxes=boxes,
        areas=boxes[:, 2:].prod(1),
        ignore=no,
        crowds=no,
        masks=None,
        absent=np.stack(np.divmod(absent, NUM_CLASSES + 1), axis=1),
        not_exhaustive=np.stack(np.divmod(keys[::5], NUM_CLASSES + 1), axis=1),
    )
    images, categories, at = draw(DETECTIONS)
    found = Detections(images, categories, rng.random(len(images)).round(4), at)
    near = np.arange(num_images)[:, None] * DETECTIONS + np.arange(NEAR)
    objects = np.arange(num_images)[:, None] * OBJECTS + np.arange(NEAR) % OBJECTS
    found.categories[near] = classes[objects]
    found.boxes[near] = (boxes[objects] + rng.normal(0, 6, (*near.shape, 4))).clip(1)
    return truth, found


def by_lvis(truth: GroundTruth, found: Detections) -> tuple[float, dict[str, float]]:
    """Return the CPU seconds of the package's evaluation, without loading, and its figures."""
    np.float = float  # which the package needs
    from lvis import LVIS, LVISEval, LVISResults

    def records(x: GroundTruth | Detections, **columns: np.ndarray) -> list[dict]:
        columns = dict(image_id=x.images, category_id=x.categories, bbox=x.boxes, **columns)
        return [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]

    def listed(pairs: np.ndarray, image: int) -> list[int]:
        return pairs[slice(*np.searchsorted(pairs[:, 0], [image, image + 1])), 1].tolist()

    ground_truth = LVIS.__new__(LVIS)
    ground_truth.logger = logging.getLogger('lvis')
    ground_truth.dataset = dict(
        images=[
            dict(
                id=i,
                height=SIZE,
                width=SIZE,
                neg_category_ids=listed(truth.absent, i),
                not_exhaustive_category_ids=listed(truth.not_exhaustive, i),
            )
            for i in truth.image_ids.tolist()
        ],
        annotations=records(truth, area=truth.areas, id=np.arange(1, len(truth.images) + 1)),
        categories=[dict(id=c, name=str(c), frequency='f') for c in truth.category_ids.tolist()],
    )
    ground_truth._create_index()
    evaluation = LVISEval(ground_truth, LVISResults(ground_truth, records(found, score=found.scores)), 'bbox')
    start = time.process_time()
    evaluation.run()
    return time.process_time() - start, evaluation.get_results()


def figures(evaluator: HotcocoEvaluator | LVISEvaluator) -> dict[str, float]:
    return evaluator.best_per_image().figures(np.full(NUM_CLASSES, 'f'))


def compare() -> Iterator[Pair]:
    truth, found = random_data(NUM_IMAGES)

    @cache  # it takes 20 s
    def reference() -> float:
        seconds, expected = by_lvis(truth, found)
        for name, value in figures(HotcocoEvaluator(truth, found, 'bbox')).items():
            assert abs(expected[name if name.startswith('AP') else f'{name}@300'] - value) < 1e-9, name
        return seconds

    def peak() -> float:
        command = [sys.executable, '-W', 'ignore', __file__, str(NUM_IMAGES)]
        return float(subprocess.check_output(command, text=True).split()[-2])

    for name, kind, bounds in (
        ('with hotcoco', HotcocoEvaluator, dict(max_ratio=1 / 50, megabytes=peak, max_megabytes=200)),
        ('without it', LVISEvaluator, dict(max_ratio=1 / 5)),
    ):
        yield Pair(name, lambda kind=kind: figures(kind(truth, found, 'bbox')), reference, **bounds)


def main(num_images: int) -> None:
    import hotcoco  # noqa: F401

    imported = peak_memory()
    truth, found = random_data(num_images)
    start = time.process_time()
    evaluator = HotcocoEvaluator(truth, found, 'bbox')
    standard = figures(evaluator)
    between = time.process_time()
    fixed = evaluator.best_per_class().mean_ap(np.ones(NUM_CLASSES, dtype=bool))
    print(
        f'{len(found.scores)} detections in {num_images} images: AP {standard["AP"]:.4f} in {between - start:.2f} CPU '
        f's, AP_fixed {fixed:.4f} in {time.process_time() - between:.2f} more; peak memory above imports, with the '
        f'detections: {peak_memory() - imported:.0f} MB'
    )


if __name__ == '__main__':
    main(int(sys.argv[1]))
