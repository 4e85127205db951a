import json
import re
import runpy

import pytest
from toy import ROOT
from toy_lvis import lvis_content

from ltmm.utils.errors import InputError


def tool(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/compare_lvis.py'))['main'](list(map(str, args)))


@pytest.fixture
def files(tmp_path):
    """Annotations, and detections of which those of a are right, and those of b shifted."""
    content = lvis_content(num_images=30)
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    for name, shift in (('a', 0), ('b', 5)):
        found = [
            dict(
                image_id=ann['image_id'],
                category_id=ann['category_id'],
                score=0.5,
                bbox=[ann['bbox'][0] + shift, *ann['bbox'][1:]],
                segmentation=dict(size=[64, 64], counts=[0, 64 * 64]),
            )
            for ann in content['annotations']
        ]
        (tmp_path / f'{name}.json').write_text(json.dumps(found))
    return [tmp_path / f'{name}.json' for name in ('ann', 'a', 'b')]


def test_better_detector_is_named_per_group(files, tmp_path, capsys):
    tool(*files, '--num-resamples', 50, '--out', tmp_path / 'new/out.json', '--classes', 'kite', 'mug')
    text = capsys.readouterr().out
    assert 'a: ' in text
    assert '30 of 30 images' in text and 'count as missed' not in text and 'beyond' not in text.splitlines()[0]
    assert re.search(r'AP: a beats b by [\d.]+ \(interval [\d.]+ to [\d.]+\)\.', text)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line[:2] == 'AP' and ':' not in line}
    assert rows.keys() == {'AP', 'APr', 'APc', 'APf', 'AP_classes'}
    assert rows['AP'][1:3] == ['4', '100.00'] and rows['AP_classes'][1] == '2'
    figures = json.loads((tmp_path / 'new/out.json').read_text())['groups']
    assert figures['AP']['low'] <= figures['AP']['difference'] <= figures['AP']['high']


def test_equal_detectors_and_the_limit_per_image(files, capsys):
    content = json.loads(files[0].read_text())
    for category in content['categories']:
        del category['frequency']  # COCO
    files[0].write_text(json.dumps(content))
    tool(files[0], files[1], files[1], '--names', 'x', 'y', '--num-resamples', 10, '--max-per-image', 1)
    text = capsys.readouterr().out
    assert 'AP: no difference shown between x and y (interval +0.00 to +0.00).' in text and 'APr' not in text
    assert 'of which the best 1 count' in text


def test_few_images_and_boxes_outside_are_named(files, capsys):
    found = json.loads(files[1].read_text())
    found = [record for record in found if record['image_id'] == found[0]['image_id']]
    corners = [dict(record, bbox=[record['bbox'][0], record['bbox'][1], 64, 64]) for record in found]
    files[1].write_text(json.dumps(corners))  # [x1, y1, x2, y2]
    tool(*files, '--num-resamples', 10)
    text = capsys.readouterr().out
    beyond = f'{len(found)} boxes reach beyond their images'
    assert (
        f'a: {len(found)} detections in 1 of 30 images; objects in the other images count as missed; {beyond}' in text
    )
    assert 'AP: b beats a by ' in text


def test_help(capsys):
    with pytest.raises(SystemExit, match='0'):
        tool('--help')
    assert 'ann_file A B' in ' '.join(capsys.readouterr().out.split())


def test_masks(files, capsys):
    tool(*files, '--iou-type', 'segm', '--num-resamples', 10)
    assert 'no difference shown' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--num-resamples', 1], '`num_resamples` to be int >= 2'),
        (['--confidence', 1], '`confidence` to be in'),
        (['--max-per-image', 0], '`max_per_image` to be'),
        (['--seed', -1], '`seed` to be'),
        (['--classes', 'oars'], "no class 'oars'"),
        (['--names', 'a', 'a'], "two different names, but got 'a' twice"),
    ],
)
def test_wrong_options(files, options, message):
    with pytest.raises(InputError, match=message):
        tool(*files, *options)


def test_part_of_the_annotation_file(files, capsys):
    first = {ann['image_id'] for ann in json.loads(files[0].read_text())['annotations'][:12]}
    for path in files[1:]:
        path.write_text(json.dumps([each for each in json.loads(path.read_text()) if each['image_id'] in first]))
    tool(*files, '--num-resamples', 10)
    assert not re.search(perfect := r'^AP +\d +100.00', capsys.readouterr().out, re.M)
    tool(*files, '--num-resamples', 10, '--covered')
    text = capsys.readouterr().out
    assert f'{len(first)} of 30 images have detections: the others are left out' in text
    assert f'in {len(first)} of {len(first)} images' in text and 'count as missed' not in text
    assert re.search(perfect, text, re.M)
    for path in files[1:]:
        path.write_text('[]')
    with pytest.raises(InputError, match='--covered: expected detections, but .*a.json and .*b.json have none'):
        tool(*files, '--covered')


def test_groups_by_class_counts(files, tmp_path, capsys):
    counts = dict(oar=300, mug=50, ladder=10, kite=3)  # in another order than the categories
    (tmp_path / 'counts.json').write_text(json.dumps(counts))
    tool(*files, '--num-resamples', 10, '--class-counts', tmp_path / 'counts.json')
    rows = dict(re.findall(r'^(AP\w*) +(\d) ', capsys.readouterr().out, re.M))
    assert rows == dict(AP='4', APr='2', APc='1', APf='1')
    (tmp_path / 'counts.json').write_text(json.dumps(dict(counts, cup=1)))
    with pytest.raises(InputError, match="name all 4 classes of the dataset, but 'cup'"):
        tool(*files, '--class-counts', tmp_path / 'counts.json')
