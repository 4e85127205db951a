import re

import numpy as np
import pytest
from PIL import Image

imagehash = pytest.importorskip('imagehash')

from ltmm.datasets.check import check_data, read_facts, scan_images  # noqa: E402
from ltmm.datasets.check.duplicates import MAX_BITS, similar_pairs  # noqa: E402
from ltmm.datasets.check.names import similar_names  # noqa: E402
from ltmm.utils.errors import InputError  # noqa: E402


def photo(seed: int, size=(80, 60)) -> Image.Image:
    """A picture of large random blobs, unlike any of another seed."""
    blobs = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize(size, Image.BICUBIC)


def config(root, **parts) -> dict:
    """Dataloaders of CSV files with rows (image, label)."""
    loaders = {}
    for name, rows in parts.items():
        (root / f'{name}.csv').write_text('image,label\n' + ''.join(f'{image},{label}\n' for image, label in rows))
        dataset = dict(type='ltmm.CSVDataset', ann_file=str(root / f'{name}.csv'), check_files=False)
        loaders[f'{name}_dataloader'] = dict(dataset=dict(dataset, metainfo=dict(classes=['ant', 'bee', 'cow'])))
    return loaders


@pytest.fixture
def root(tmp_path):
    for i in range(8):
        photo(i).save(tmp_path / f'{i}.jpg', quality=95)
    return tmp_path


def found(report, level=None) -> dict[str, list[str]]:
    """Findings of a level by text, the folder left out of the examples."""
    return {
        finding.text: [re.sub(r'/\S*/', '', example) for example in finding.examples]
        for finding in report.findings
        if level in (None, finding.level)
    }


CLEAN = [(f'{i}.jpg', label) for i, label in enumerate(['ant', 'ant', 'bee', 'cow'])]
VAL = [(f'{i}.jpg', label) for i, label in enumerate(['ant', 'bee', 'cow'], 4)]


def test_clean_data(root):
    report = check_data(config(root, train=CLEAN, val=VAL), workers=0)
    assert report.num_errors == 0
    assert list(found(report)) == [
        'val: 3 classes have fewer than 5 images: one image changes their score by 20 points or more.'
    ]
    assert report.scanned == (7, 7)
    assert 'train 4 images, val 3 images; 7 of 7 image files were read. 0 errors, 0 warnings, 1 note.' in report.text()
    assert re.search(r'ant +few +2 +1\n', report.text())


def test_several_processes_give_the_same(root, capsys):
    paths = [str(root / f'{i}.jpg') for i in range(8)]
    assert list(scan_images(paths, 2)) == [read_facts(path) for path in paths]
    assert not capsys.readouterr().out  # no progress in a file


def test_broken_and_missing_images(root):
    data = (root / '0.jpg').read_bytes()
    (root / '0.jpg').write_bytes(data[: len(data) // 2])
    (root / '1.jpg').write_text('no image')
    (root / '2.jpg').unlink()
    report = check_data(config(root, train=CLEAN), workers=0)
    (text, examples), = found(report, 'error').items()  # fmt: skip
    assert text.startswith('train: 3 of 4 images cannot be read')
    assert [example.split(':')[0] for example in examples] == ['0.jpg', '1.jpg', '2.jpg']
    assert 'truncated' in examples[0] and examples[2] == '2.jpg: does not exist'


def test_copies(root):
    (root / 'copy.jpg').write_bytes((root / '0.jpg').read_bytes())
    (root / 'other.jpg').write_bytes((root / '2.jpg').read_bytes())
    photo(1).resize((240, 180)).save(root / 'large.png')
    train = [*CLEAN, ('copy.jpg', 'ant'), ('other.jpg', 'cow')]
    (root / 'leak.jpg').write_bytes((root / '3.jpg').read_bytes())
    report = check_data(config(root, train=train, val=[*VAL, ('leak.jpg', 'cow'), ('large.png', 'ant')]), workers=0)
    errors, warnings = found(report, 'error'), found(report, 'warning')
    assert errors['train: 1 picture occurs several times with different labels.'] == ['2.jpg (bee) = other.jpg (cow)']
    leak = next(text for text in errors if text.startswith('train and val'))
    assert leak.startswith('train and val: 1 of 5 val images is also in train.')
    assert errors[leak] == ['3.jpg = leak.jpg']
    assert warnings['train: 1 image is a copy of another; copies count several times.'] == ['0.jpg = copy.jpg']
    alike = next(text for text in warnings if '1 of 5 val images looks like one of train' in text)
    assert [example.split(' (')[0] for example in warnings[alike]] == ['1.jpg ~ large.png']


def test_similar_pairs_as_by_comparing_all():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2**63, 200, dtype=np.uint64)
    second = first[rng.integers(0, 200, 100)]
    for i, flips in enumerate(rng.integers(0, 9, 100)):
        for bit in rng.choice(64, flips, replace=False):
            second[i] ^= np.uint64(1) << np.uint64(bit)
    one, two = ({f'{k}{i}': int(value) for i, value in enumerate(part)} for k, part in (('a', first), ('b', second)))
    naive = {}
    for name, value in two.items():
        distance, other = min((bin(value ^ known).count('1'), i) for i, known in enumerate(one.values()))
        if distance <= MAX_BITS:
            naive[name] = (f'a{other}', distance)
    got = similar_pairs(one, two)
    assert {b: (a, bits) for a, b, bits in got} == naive
    assert [bits for *_, bits in got] == sorted(bits for *_, bits in got)
    assert 30 < len(got) < 70


def test_modes_sizes_and_orientation(root):
    photo(0).convert('P').save(root / '0.png')
    photo(1).convert('RGBA').save(root / '1.png')
    Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)).save(root / '2.png')
    photo(3).convert('CMYK').save(root / 'cmyk.jpg')
    photo(4, (20, 200)).save(root / 'narrow.jpg')
    exif = Image.Exif()
    exif[274] = 6
    photo(5).save(root / 'turned photo.jpg', exif=exif)
    names = ['0.png', '1.png', '2.png', 'cmyk.jpg', 'narrow.jpg', 'turned photo.jpg', '6.jpg']
    report = check_data(config(root, train=[(name, 'ant') for name in names]), workers=0)
    findings = {re.split(' images? ', text)[1][:20]: examples for text, examples in found(report).items()}
    assert findings['has palette pixels, '] == ['0.png']
    assert findings['has transparency pix'] == ['1.png']
    assert findings['has 16 bit pixels, w'] == ['2.png']
    assert findings['has CMYK pixels, whi'] == ['cmyk.jpg']
    assert findings['is narrower than 32 '] == ['narrow.jpg: 20 x 200']
    assert findings['is more than 4 times'] == ['narrow.jpg: 20 x 200']
    assert findings['has an EXIF orientat'] == ['turned photo.jpg']
    assert any('1 image name holds blanks' in text for text in found(report, 'note'))


def test_classes_on_each_side(root):
    cfg = config(root, train=CLEAN, val=VAL[:1], test=VAL)
    cfg['test_dataloader']['dataset']['metainfo'] = dict(classes=['bee', 'ant', 'cow'])
    report = check_data(cfg, workers=0)
    missing = next(text for text in found(report) if text.startswith('val: 2 of 3 classes have no image'))
    assert found(report)[missing] == ['bee (1 in train)', 'cow (1 in train)']
    assert any('Expected the same order of classes in training and test' in text for text in found(report, 'error'))
    cfg = config(root, train=CLEAN[:3])
    warnings = found(check_data(cfg, workers=0), 'warning')
    assert warnings['train: 1 of 3 classes has no image and cannot be learned.'] == ['cow']


def test_part_that_cannot_be_loaded(root):
    cfg = config(root, train=CLEAN, val=VAL)
    cfg['val_dataloader']['dataset']['ann_file'] = str(root / 'none.csv')
    report = check_data(cfg, workers=0)
    assert any(text.startswith('val: CSV file') and 'does not exist' in text for text in found(report, 'error'))
    assert 'val cannot be loaded' in report.text()
    cfg['train_dataloader']['dataset']['ann_file'] = str(root / 'none.csv')
    with pytest.raises(InputError, match='CSV file .* does not exist'):
        check_data(cfg, workers=0)


def test_skipped_rows_are_reported(root):
    report = check_data(config(root, train=[*CLEAN, ('7.jpg', '')]), workers=0)
    assert any('1 of 5 rows have no label' in text for text in found(report, 'warning'))


@pytest.mark.parametrize(
    'names, pairs',
    [
        (['Ant', 'ant', 'bee'], [('Ant', 'ant')]),
        (['fire truck', 'fire_truck', 'bees', 'bee'], [('fire truck', 'fire_truck'), ('bees', 'bee')]),
        (['penguin', 'pengiun', 'pinguin'], [('penguin', 'pinguin')]),
        (['cat', 'car', 'class 1', 'class 2', '10', '11', 'boat', 'coat'], []),
    ],
)
def test_similar_names(names, pairs):
    assert similar_names(names) == pairs


def test_advice_fits_the_data(root):
    def advice(counts):
        rows = [(f'{c}{i}.jpg', c) for c, n in zip(('ant', 'bee', 'cow'), counts) for i in range(n)]
        return ' '.join(check_data(config(root, train=rows), limit=1, workers=0).advice)

    assert 'nearly balanced' in advice((30, 25, 20)) and 'Begin with pretrained' not in advice((30, 25, 20))
    tail = advice((200, 30, 3))
    assert 'is 66.7' in tail and 'BalancedSoftmaxLoss' in tail
    assert '1 class has fewer than 10 images (the smallest 3)' in tail
    (root / 'multi.csv').write_text('image,a,b\n1.jpg,1,\n2.jpg,0,1\n')
    cfg = dict(train_dataloader=dict(dataset=dict(type='ltmm.CSVDataset', ann_file=str(root / 'multi.csv'))))
    text = ' '.join(check_data(cfg, workers=0).advice)
    assert '1 of 2 images has unknown labels' in text and 'PartialASLLoss' in text


def test_advice_knows_what_the_config_trains(root):
    rows = [(f'{c}{i}.jpg', c) for c, n in zip(('ant', 'bee', 'cow'), (200, 30, 3)) for i in range(n)]
    cfg = config(root, train=rows)

    def advice(**changes):
        return ' '.join(check_data({**cfg, **changes}, limit=1, workers=0).advice)

    own = advice(loss='ltmm.BalancedSoftmaxLoss', model=dict(head=dict(loss=dict(type='ltmm.BalancedSoftmaxLoss'))))
    assert 'balances the classes by ltmm.BalancedSoftmaxLoss' in own and 'loss=CrossEntropyLoss' in own
    assert 'Train cross entropy first' not in own
    plain = advice(loss='CrossEntropyLoss', model=dict(head=dict(loss=dict(type='CrossEntropyLoss'))))
    assert 'balanced softmax, one line and no more time: --cfg-options loss=ltmm.BalancedSoftmaxLoss' in plain
    plain = advice(model=dict(head=dict(loss=dict(type='CrossEntropyLoss'))))
    assert "model.head.loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss')" in plain
    cfg['train_dataloader']['sampler'] = dict(type='ltmm.ClassAwareSampler')
    assert 'balances the classes by ltmm.ClassAwareSampler. Compare it with plain cross entropy.' in advice()


def test_page_is_escaped_and_self_contained(root):
    name = '<script>alert(1)</script>'
    (root / 'list.csv').write_text(f'image,label\n"0.jpg",{name}\n"<img src=x>.jpg",b&b\n')
    dataset = dict(type='ltmm.CSVDataset', ann_file=str(root / 'list.csv'), check_files=False)
    page = check_data(dict(train_dataloader=dict(dataset=dataset)), title='<x>', workers=0).page()
    assert '<script' not in page and '<img' not in page and '<x>' not in page
    assert '&lt;script&gt;alert(1)&lt;/script&gt;' in page and 'b&amp;b' in page
    assert 'src=' not in page.replace('src=x', '') and 'href=' not in page


def test_no_training_data():
    with pytest.raises(InputError, match='no train_dataloader'):
        check_data({}, workers=0)
