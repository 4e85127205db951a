import numpy as np
from PIL import Image
from toy_lvis import SIZE, lvis_content

from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.visualization.detection_comparison import HIT, MISS, plot_detections


def rgb(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def drawn(path, color):
    pixels = np.asarray(Image.open(path).convert('RGB')).astype(int).reshape(-1, 3)
    return (np.abs(pixels - rgb(color)).sum(1) < 20).sum()


def test_hits_are_green_and_misses_orange(tmp_path):
    content = lvis_content()
    objects = GroundTruth.from_content(content, 'file.json')
    oar = next(a for a in content['annotations'] if a['category_id'] == 9)
    images = [(oar['image_id'], np.full((SIZE, SIZE, 3), 90, np.uint8))]

    def picture(box, score, category_id=9):
        found = Detections(np.array([10]), np.array([category_id]), np.array([score]), np.array([box], float))
        nothing = Detections(np.empty(0, int), np.empty(0, int), np.empty(0), np.empty((0, 4)))
        return plot_detections(
            objects, dict(before=nothing, after=found), 9, images, tmp_path / 'new' / 'grid.png', 0.3, 'oar'
        )

    path = picture(oar['bbox'], 0.9)
    assert drawn(path, HIT) > 100 and drawn(path, MISS) == 0
    assert Image.open(path).width > 1000  # three columns
    path = picture([0, 0, 5, 5], 0.9)
    assert drawn(path, MISS) > 100 and drawn(path, HIT) == 0
    for unseen in (picture(oar['bbox'], 0.2), picture(oar['bbox'], 0.9, category_id=2)):
        assert drawn(unseen, HIT) == drawn(unseen, MISS) == 0
