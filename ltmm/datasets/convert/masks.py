"""Masks as polygons."""

import numpy as np

from .records import ObjectRecord

__all__ = ['as_polygons', 'joined']


def as_polygons(item: ObjectRecord) -> tuple[list[list[float]], bool]:
    """Return the polygons of a mask, or the rectangle of a box, and whether they are exact."""
    if isinstance(item.mask, list):
        return item.mask, True
    x, y, w, h = item.box
    rectangle = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if item.mask is None:
        return rectangle, True
    import cv2
    from pycocotools import mask as coco_mask  # in the extra det

    code = item.mask
    if isinstance(code['counts'], list):
        code = coco_mask.frPyObjects(code, *code['size'])
    contours, _ = cv2.findContours(coco_mask.decode(code), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [contour.ravel().astype(float).tolist() for contour in contours if len(contour) >= 3]
    return polygons or rectangle, False


def joined(polygons: list[list[float]]) -> list[float]:
    """Join polygons into one of the same area, by lines of no width between their first points."""
    first = polygons[0]
    points = list(first)
    for polygon in polygons[1:]:
        points += [*first[:2], *polygon, *polygon[:2]]
    return np.asarray(points + first[:2] if len(polygons) > 1 else points, dtype=float).tolist()
