import pytest

from ltmm.datasets import DetectionAsMultiLabel
from ltmm.datasets.labels.voc_annotations import find_images, read_image_ids, read_voc_annotations
from ltmm.utils.errors import InputError

OBJECT = (
    '<object><name> {} </name><pose>Unspecified</pose><truncated>0</truncated><difficult>{}</difficult>'
    '<bndbox><xmin>1</xmin><ymin>2.0</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox></object>'
)
XML = '{}<annotation><size><width>64</width><height>48</height></size>{}</annotation>'
# id, suffix of the image, line of the list, encoding, declaration, difficult
FILES = [
    ('IMG 0001', '.png', 'IMG 0001', 'utf-8-sig', '<?xml version="1.0"?>', 'Unspecified'),
    ('photo 1', '.JPG', 'photo 1.JPG', 'utf-8', '', '0'),
    ('v1.2', '.webp', 'v1.2', 'gbk', '<?xml version="1.0" encoding="gb2312"?>', 'true'),
    ('sub/b', '.jpeg', 'sub/b.jpeg', 'utf-16', '<?xml version="1.0" encoding="utf-16"?>', '1'),
    ('2008_1', '.jpg', '2008_1  -1', 'utf-8', '', ''),
    ('frame', '.bmp', 'JPEGImages/frame.bmp', 'utf-8', '<?xml version="1.0" encoding="us-ascii"?>', '0'),
]


def write(folder) -> None:
    for image_id, suffix, _, encoding, declaration, difficult in FILES:
        for kind, text in (
            ('JPEGImages', ''),
            ('Annotations', XML.format(declaration, OBJECT.format('狗狗', difficult))),
        ):
            path = folder / kind / f'{image_id}{suffix if kind == "JPEGImages" else ".xml"}'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode(encoding))
    lines = '\r\n'.join(line for *_, line, _, _, _ in FILES)
    (folder / 'list.txt').write_bytes(lines.encode('utf-8-sig'))


def test_folders_of_labelimg_and_cvat(tmp_path):
    write(tmp_path)
    prefix = dict(img_path='JPEGImages', ann_path='Annotations')
    dataset = DetectionAsMultiLabel('list.txt', str(tmp_path), prefix, difficult_as='unknown', serialize_data=False)
    assert dataset.metainfo['classes'] == ('狗狗',)
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [r['img_path'] for r in records] == [f'{tmp_path}/JPEGImages/{name}{suffix}' for name, suffix, *_ in FILES]
    assert [r['gt_score'].item() for r in records] == [1, 1, -1, -1, 1, 1]


def test_content(tmp_path):
    write(tmp_path)
    (image,) = read_voc_annotations(['IMG 0001'], tmp_path / 'Annotations')
    assert image == ([('狗狗', False, (1, 2, 30.5, 40))], (64, 48))


def test_ids_without_annotations_are_first_words(tmp_path):
    (tmp_path / 'list.txt').write_text('12 1\n\n13 -1\n')
    assert read_image_ids(tmp_path / 'list.txt') == ['12', '13']
    assert find_images(['12'], tmp_path / 'missing') == ['12.jpg']


LAUGHS = ''.join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip('abcdefgh', 'bcdefghi'))


@pytest.mark.parametrize(
    'text, reason',
    [
        (XML.format('', OBJECT).replace('30.5', 'wide'), 'wide'),
        (XML.format('', OBJECT).replace('30.5', '1e999'), 'inf'),
        (XML.format('', OBJECT).replace('<xmax>30.5</xmax>', ''), ''),
        (XML.format('', OBJECT).replace('64', '1e999'), 'infinity'),
        ('<annotation>' * 10 + '</annotation>' * 9, 'no element found'),
        (f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{LAUGHS}]><annotation>&i;</annotation>', 'amplification'),
    ],
)
def test_hostile_xml(tmp_path, text, reason):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(InputError, match=f'a.xml is not a Pascal VOC annotation .*{reason}'):
        read_voc_annotations(['a'], tmp_path)


def test_xml_in_gbk_that_does_not_say_so(tmp_path):
    (tmp_path / 'a.xml').write_bytes(XML.format('', OBJECT.format('狗狗', 0)).encode('gbk'))
    with pytest.raises(InputError, match='a.xml .*GBK.*iconv'):
        read_voc_annotations(['a'], tmp_path)
