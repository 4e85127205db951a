import json

import numpy as np
import pytest

from ltmm.datasets.annotations import load_annotations
from ltmm.datasets.lvis_generation import place_objects, write_lvis_file

IMAGES, OBJECTS = np.array([40, 12, 1]), np.array([90, 12, 5])


def test_counts_are_exact():
    images, classes = place_objects(IMAGES, OBJECTS, 45, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(classes), OBJECTS)
    pairs = np.unique(np.stack([images, classes]), axis=1)
    np.testing.assert_array_equal(np.bincount(pairs[1]), IMAGES)
    np.testing.assert_array_equal(np.unique(images), np.arange(45))
    with pytest.raises(ValueError, match='no more images per class'):
        place_objects(OBJECTS, IMAGES, 45, np.random.default_rng(0))


def test_file(tmp_path):
    paths = [tmp_path / name for name in 'abc']
    for path, seed in zip(paths, (0, 0, 1)):
        write_lvis_file(path, 'xyz', IMAGES, OBJECTS, 45, seed=seed)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    content = json.loads(paths[0].read_text())
    assert [cat['frequency'] for cat in content['categories']] == ['c', 'c', 'r']
    held = {(ann['image_id'], ann['category_id']) for ann in content['annotations']}
    for image in content['images']:
        assert not any((image['id'], c) in held for c in image['neg_category_ids'])
        assert all((image['id'], c) in held for c in image['not_exhaustive_category_ids'])
    annotations = load_annotations(paths[0], tmp_path / 'cache')  # checks the file
    assert (annotations.drop == 0).mean() > 0.9
    assert annotations.meta['invalid_mask'] is None
