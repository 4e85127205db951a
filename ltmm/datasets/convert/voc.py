"""Annotations in the format of Pascal VOC: an xml file per image."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from ltmm.datasets.image_paths import files_under, is_hidden
from ltmm.datasets.labels.voc_annotations import find_images, read_image_ids, read_voc_annotations
from ltmm.utils.errors import InputError

from .files import new_folder, place_images
from .records import Annotations, ImageRecord, ObjectRecord, class_list, relative_name

__all__ = ['read_voc', 'write_voc']


def read_voc(source: Path, images: Path | None, split: str | None, classes: Sequence[str] | None) -> Annotations:
    """Read a folder with ``Annotations/`` and ``JPEGImages/``, or with xml files beside their images.

    Boxes are those of mmdet: the corners less 1, as VOC counts pixels from 1.

    Args:
        source: The folder.
        images: Folder of the images. Default: ``JPEGImages``, else that of the xml files.
        split: Name of a list of images, ``ImageSets/Main/<split>.txt``. Default: all xml files.
        classes: Names of the classes to keep, in label order.
    """
    folder = source / 'Annotations' if (source / 'Annotations').is_dir() else source
    if not folder.is_dir():
        raise FileNotFoundError(f'Folder {folder.absolute()} does not exist.')
    if images is None:
        images = source / 'JPEGImages' if (source / 'JPEGImages').is_dir() else folder
    if split is None:
        ids = sorted(
            path.removesuffix('.xml') for path in files_under(folder) if path.endswith('.xml') and not is_hidden(path)
        )
    else:
        ids = read_image_ids(source / f'ImageSets/Main/{split}.txt', lambda name: (folder / f'{name}.xml').is_file())
        ids = [relative_name(name, f'ImageSets/Main/{split}.txt') for name in ids]
    if not ids:
        raise InputError(f'{folder} has no xml files.')
    contents = read_voc_annotations(ids, folder)
    found = sorted({item.name for content in contents for item in content.objects})
    classes = class_list(found, classes, folder)
    label = {name: i for i, name in enumerate(classes)}
    records = []
    for name, content in zip(find_images(ids, images), contents):
        objects = [
            ObjectRecord(
                label[item.name],
                (item.box[0] - 1, item.box[1] - 1, item.box[2] - item.box[0], item.box[3] - item.box[1]),
                is_ignored=item.is_difficult,
            )
            for item in content.objects
            if item.box is not None and item.name in label
        ]
        records.append(ImageRecord(name, content.size, objects))
    return Annotations(classes, records, images, 'boxes')


def write_voc(annotations: Annotations, out: Path, copy: bool) -> list[str]:
    """Write ``Annotations/``, ``JPEGImages/`` and ``ImageSets/Main/all.txt``. Return what is lost."""
    annotations.check_boxes('voc')
    annotations.check_images()
    annotations.load_sizes()
    masks = rounded = 0
    ids: dict[str, str] = {}
    with new_folder(out) as folder:
        for image in annotations.images:
            image_id = str(Path(image.name).with_suffix(''))
            if ids.setdefault(image_id, image.name) != image.name:
                raise InputError(f'{image.name} and {ids[image_id]} would have the same xml file.')
            root = ElementTree.Element('annotation')
            ElementTree.SubElement(root, 'filename').text = image.name
            size = ElementTree.SubElement(root, 'size')
            for key, value in zip(('width', 'height', 'depth'), (*image.size, 3)):
                ElementTree.SubElement(size, key).text = str(value)
            for item in image.objects:
                x, y, w, h = item.box
                corners = (x + 1, y + 1, x + w + 1, y + h + 1)
                masks += item.mask is not None
                rounded += any(abs(value - round(value)) > 1e-3 for value in corners)
                element = ElementTree.SubElement(root, 'object')
                ElementTree.SubElement(element, 'name').text = annotations.classes[item.label]
                ElementTree.SubElement(element, 'difficult').text = str(int(item.is_ignored))
                box = ElementTree.SubElement(element, 'bndbox')
                for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners):
                    ElementTree.SubElement(box, key).text = str(round(value))
            file = folder / 'Annotations' / f'{image_id}.xml'
            file.parent.mkdir(parents=True, exist_ok=True)
            ElementTree.indent(root)
            ElementTree.ElementTree(root).write(file, encoding='utf-8')
        place_images(((annotations.folder / i.name, folder / 'JPEGImages' / i.name) for i in annotations.images), copy)
        lists = folder / 'ImageSets/Main'
        lists.mkdir(parents=True)
        (lists / 'all.txt').write_text(''.join(f'{image_id}\n' for image_id in ids), encoding='utf-8')
    used = {item.label for image in annotations.images for item in image.objects}
    losses = [
        (masks, 'masks are lost: VOC has boxes'),
        (rounded, 'boxes were rounded to whole pixels'),
        (len(annotations.classes) - len(used), 'classes without objects are lost: VOC has no list of classes'),
    ]
    return [f'{count} {text}.' for count, text in losses if count]
