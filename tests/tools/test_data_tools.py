"""tools/check_data.py, tools/dataset_tools/convert.py and split.py as commands."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from toy_processes import run_tool

CONFIG = """
default_scope = 'mmpretrain'
model = dict(type='ImageClassifier')
data = dict(type='ltmm.CustomDataset', data_root={root!r})
train_dataloader = dict(dataset=dict(type='ltmm.Holdout', part='train', per_class=0.3, dataset=data))
val_dataloader = dict(dataset=dict(type='ltmm.Holdout', part='val', per_class=0.3, dataset=data))
"""


@pytest.fixture
def config(tmp_path):
    """Photos of two classes, one of which has a copy of each photo."""
    for label, count in (('ant', 20), ('bee', 4)):
        (tmp_path / 'photos' / label).mkdir(parents=True)
        for i in range(count):
            blobs = np.random.default_rng([i, count]).integers(0, 255, (6, 8, 3), np.uint8)
            Image.fromarray(blobs).resize((80, 60)).save(tmp_path / 'photos' / label / f'{i}.png')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path / 'photos')))
    return tmp_path / 'config.py'


def test_check_data(config, tmp_path):
    pytest.importorskip('imagehash')
    clean = run_tool('tools/check_data.py', config, '--workers', 2)
    assert clean.returncode == 0, clean.stderr
    assert 'train 17 images, val 7 images; 24 of 24 image files were read. 0 errors' in clean.stdout
    shutil.copy(tmp_path / 'photos/bee/0.png', tmp_path / 'photos/ant/copy.png')
    page = tmp_path / 'report.html'
    wrong = run_tool('tools/check_data.py', config, '--workers', 0, '--out', page)
    assert wrong.returncode == 1, wrong.stderr
    assert 'copy.png' in page.read_text()
    limited = run_tool('tools/check_data.py', config, '--limit', 2, '--workers', 0)
    assert '4 of 25 image files were read' in limited.stdout
    bad = run_tool('tools/check_data.py', config, '--out', tmp_path / 'report.pdf')
    assert bad.returncode == 1 and 'Expected --out to be an .html file' in bad.stderr


def test_page_in_a_browser(config, tmp_path):
    webdriver = pytest.importorskip('selenium.webdriver')
    if not shutil.which('chromedriver'):
        pytest.skip('no chromedriver')
    pytest.importorskip('imagehash')
    shutil.copy(tmp_path / 'photos/bee/0.png', tmp_path / 'photos/bee/copy <b>.png')
    page = tmp_path / 'report.html'
    run_tool('tools/check_data.py', config, '--workers', 0, '--out', page)
    options = webdriver.ChromeOptions()
    for argument in ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync',
                     '--disable-background-networking', f'--user-data-dir={tmp_path / "chrome"}'):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which('chromedriver')))
    try:
        driver.get(page.as_uri())
        details = driver.find_element('css selector', 'details')
        assert 'copy <b>.png' not in driver.find_element('tag name', 'body').text  # folded
        details.find_element('css selector', 'summary').click()
        assert 'copy <b>.png' in details.text
        widths = [bar.size['width'] for bar in driver.find_elements('css selector', '.bar div')]
        assert widths[0] > 3 * widths[1] > 0  # ant and bee
        assert not driver.find_elements('css selector', '[src], link, script')
    finally:
        driver.quit()


def test_convert_and_split(tmp_path):
    folder = tmp_path / 'yolo'
    (folder / 'images').mkdir(parents=True)
    (folder / 'labels').mkdir()
    (folder / 'classes.txt').write_text('ant\nbee\n')
    for i in range(8):
        Image.new('RGB', (40, 20)).save(folder / f'images/{i}.png')
        (folder / f'labels/{i}.txt').write_text(f'{int(i > 5)} 0.5 0.5 0.5 0.5\n')
    out = tmp_path / 'all.json'
    done = run_tool('tools/dataset_tools/convert.py', folder, '--from', 'yolo', '--to', 'coco', '--out', out)
    assert done.stdout.splitlines() == [
        f'Wrote {out}: 8 images, 8 objects, 2 classes.',
        f'Image paths are relative to {folder}.',
    ]
    done = run_tool(
        'tools/dataset_tools/convert.py', out, '--from', 'coco', '--to', 'csv', '--out', tmp_path / 'all.csv'
    )
    assert 'Lost: The places of 8 objects are lost' in done.stdout
    split = ['tools/dataset_tools/split.py', out, '--from', 'coco', '--out', tmp_path / 'split', '--val', '0.25']
    done = run_tool(*split, '--test', '0')
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert rows == [['images', 'of', 'train', 'val'], ['ant', '4', '2'], ['bee', '1', '1']]
    assert len(json.loads((tmp_path / 'split/val.json').read_text())['images']) == 3
    again = run_tool(*split)
    assert again.returncode == 1 and 'exists and is not empty' in again.stderr
    bad = run_tool(
        'tools/dataset_tools/convert.py', out, '--from', 'yolo', '--to', 'coco', '--out', tmp_path / 'b.json'
    )
    assert bad.returncode == 1 and len(bad.stderr.strip().splitlines()) == 1
