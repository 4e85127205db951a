"""Generation of annotation files with given class statistics, to measure on without the data."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

__all__ = ['place_objects', 'write_lvis_file']

CHUNK = 20_000  # objects
MEAN_VERTICES, MIN_VERTICES, MAX_VERTICES = 45, 3, 400
URL = 'http://images.cocodataset.org/train2017/{:012}.jpg'


def place_objects(
    image_counts: np.ndarray, instance_counts: np.ndarray, num_images: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the image and the class of each object, sorted by image; every image has at least one object.

    Args:
        image_counts: Images that hold each class, (C,); their sum is at least ``num_images``.
        instance_counts: Objects of each class, (C,), none below its number of images.
        num_images: N.
        rng: Source of randomness.

    Returns:
        Image and class of each of M objects, (M,), (M,).
    """
    if image_counts.sum() < num_images or (instance_counts < image_counts).any() or image_counts.max() > num_images:
        raise ValueError('Expected no more images per class than images or objects, and one class per image at least.')
    classes = np.repeat(np.arange(len(image_counts)), image_counts)  # of pairs (image, class)
    images = np.concatenate([rng.choice(num_images, count, replace=False) for count in image_counts])
    empty = np.flatnonzero(np.bincount(images, minlength=num_images) == 0)
    spare = np.ones(len(images), dtype=bool)
    order = rng.permutation(len(images))
    spare[order[np.unique(images[order], return_index=True)[1]]] = False  # the one that each image keeps
    images[rng.choice(np.flatnonzero(spare), len(empty), replace=False)] = empty
    starts = np.cumsum(image_counts) - image_counts
    extra_classes = np.repeat(np.arange(len(image_counts)), instance_counts - image_counts)
    chosen = starts[extra_classes] + (rng.random(len(extra_classes)) * image_counts[extra_classes]).astype(int)
    images, classes = np.r_[images, images[chosen]], np.r_[classes, extra_classes]
    order = np.lexsort((rng.random(len(images)), images))
    return images[order], classes[order]


def write_lvis_file(
    path: str | Path,
    names: Sequence[str],
    image_counts: np.ndarray,
    instance_counts: np.ndarray,
    num_images: int,
    frequency: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Write random boxes and polygons in the format of LVIS v1, with exactly these numbers of images and objects.

    Polygons have 45 vertices on average, with two decimals; ``neg_category_ids`` lists three random classes per image
    that it does not hold, ``not_exhaustive_category_ids`` a class that it holds in a fifth of the images.

    Args:
        path: Path of the json file to write.
        names: C names of classes, whose ids are 1 to C.
        image_counts, instance_counts, num_images: See :func:`place_objects`.
        frequency: 'r', 'c' or 'f' per class. Default: by at most 10, at most 100 and more images.
        seed: Seed of all randomness.
    """
    import orjson

    rng = np.random.default_rng(seed)
    image_of, class_of = place_objects(image_counts, instance_counts, num_images, rng)
    letters = frequency or np.array(['r', 'c', 'f'])[np.searchsorted([10, 100], image_counts)].tolist()
    sizes = np.array([(640, 480), (480, 640), (640, 427)])[rng.integers(0, 3, num_images)]
    with open(path, 'wb') as file:
        file.write(b'{"info":{"description":"Random objects with the class counts of LVIS"},"annotations":[')
        for start in range(0, len(image_of), CHUNK):
            part = slice(start, start + CHUNK)
            records = _objects(image_of[part], class_of[part], sizes, start, rng)
            file.write(b',' * (start > 0) + orjson.dumps(list(records))[1:-1])
        file.write(b'],"images":')
        file.write(orjson.dumps(_images(image_of, class_of, sizes, len(names), rng)))
        categories = [
            dict(id=i + 1, name=name, frequency=letter, image_count=images, instance_count=instances)
            for i, (name, letter, images, instances) in enumerate(
                zip(names, letters, image_counts.tolist(), instance_counts.tolist())
            )
        ]
        file.write(b',"licenses":[],"categories":' + orjson.dumps(categories) + b'}')


def _objects(
    images: np.ndarray, classes: np.ndarray, sizes: np.ndarray, start: int, rng: np.random.Generator
) -> Iterator[dict]:
    """Draw star-shaped polygons around random centers, and their boxes."""
    num = len(images)
    vertices = rng.lognormal(np.log(MEAN_VERTICES) - 0.32, 0.8, num).astype(int).clip(MIN_VERTICES, MAX_VERTICES)
    ends = np.cumsum(vertices)
    owner = np.repeat(np.arange(num), vertices)
    place = np.arange(ends[-1]) - (ends - vertices)[owner]
    angle = 2 * np.pi * (place + rng.random(ends[-1])) / vertices[owner]
    half = sizes[images] * np.exp(-rng.random((num, 1)) * 3) / 2 - 1  # (M, 2)
    center = half + rng.random((num, 2)) * (sizes[images] - 2 * half)
    radius = 0.7 + 0.3 * rng.random(ends[-1])
    points = center[owner] + half[owner] * (radius * np.stack([np.cos(angle), np.sin(angle)])).T
    points = points.round(2)
    low, high = (f.reduceat(points, ends - vertices) for f in (np.minimum, np.maximum))
    boxes = np.c_[low, (high - low).round(2)].tolist()
    areas = (0.7 * (high - low).prod(1)).round(2).tolist()
    flat, image_ids, category_ids = points.ravel().tolist(), (images + 1).tolist(), (classes + 1).tolist()
    for i, (end, count) in enumerate(zip((2 * ends).tolist(), (2 * vertices).tolist())):
        yield dict(
            id=start + i + 1,
            image_id=image_ids[i],
            category_id=category_ids[i],
            segmentation=[flat[end - count : end]],
            bbox=boxes[i],
            area=areas[i],
        )


def _images(
    image_of: np.ndarray, class_of: np.ndarray, sizes: np.ndarray, num_classes: int, rng: np.random.Generator
) -> list[dict]:
    ends = np.cumsum(np.bincount(image_of, minlength=len(sizes))).tolist()
    negatives = rng.integers(1, num_classes + 1, (len(sizes), 3)).tolist()
    is_partial = (rng.random(len(sizes)) < 0.2).tolist()
    records = []
    for i, (start, end) in enumerate(zip([0, *ends], ends)):
        held = set((class_of[start:end] + 1).tolist())
        records.append(
            dict(
                id=i + 1,
                width=int(sizes[i, 0]),
                height=int(sizes[i, 1]),
                license=1,
                date_captured='2013-11-14 17:02:52',
                coco_url=URL.format(i + 1),
                flickr_url='http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg',
                neg_category_ids=sorted(set(negatives[i]) - held),
                not_exhaustive_category_ids=sorted(held)[:1] if is_partial[i] else [],
            )
        )
    return records
