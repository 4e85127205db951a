import numpy as np
import pytest
from mmengine.registry import init_default_scope

from ltmm.datasets import CSVDataset, LongTailed, PartialLabels, class_distribution_of
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

SINGLE = 'image,label\n1.jpg,bee\n2.jpg,ant\n3.jpg,bee\n'


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write a CSV file, read it, and return (names, classes, labels); `read.log` has the warnings."""

    def read_file(content: str | bytes, **kwargs):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / 'list.csv').write_bytes(data)
        dataset = CSVDataset('list.csv', data_root=str(tmp_path), check_files=False, **kwargs)
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        key = 'gt_score' if 'gt_score' in records[0] else 'gt_label'
        names = [record['img_path'].removeprefix(f'{tmp_path}/') for record in records]
        return names, dataset.metainfo['classes'], np.array([record[key] for record in records]).tolist()

    read_file.log = []
    for module in ('csv_labels', 'csv_table'):
        monkeypatch.setattr(f'ltmm.datasets.labels.{module}.print_log', lambda text, *_: read_file.log.append(text))
    return read_file


@pytest.mark.parametrize(
    'content',
    [
        SINGLE,
        SINGLE.replace(',', ';'),
        SINGLE.replace(',', '\t'),
        SINGLE.replace('\n', '\r\n'),
        SINGLE.replace(',', ' , '),
        SINGLE.partition('\n')[2],  # without header
        '\ufeff' + SINGLE,
        SINGLE.encode('utf-16'),
        SINGLE + '\n,\n',
        'label,file_name\nbee,1.jpg\nant,2.jpg\nbee,3.jpg\n',
        ',Path,Class,photographer\n0,1.jpg,bee,me\n1,2.jpg,ant,me\n2,3.jpg,bee,you\n',  # as pandas writes it
        '"image","label"\n"1.jpg","bee"\n"2.jpg","ant"\n"3.jpg","bee"\n',
    ],
)
def test_one_label(read, content):
    assert read(content) == (['1.jpg', '2.jpg', '3.jpg'], ('ant', 'bee'), [1, 0, 1])
    assert not read.log


def test_names_of_images_without_suffix(read):
    assert read('0007,3\n0008,4\n0009,3\n', suffix='.jpg') == (
        ['0007.jpg', '0008.jpg', '0009.jpg'],
        ('3', '4'),
        [0, 1, 0],
    )
    assert read('id_code,diagnosis\n7,3\n8,4\n')[0] == ['7', '8']


def test_quoted_cells(read):
    names, classes, _ = read('image,label\n"a, b.jpg","ant, ""red"""\n\'c.jpg,bee\n')
    assert (names, classes) == (['a, b.jpg', "'c.jpg"], ('ant, "red"', 'bee'))


def test_numbers_are_sorted_by_value(read):
    assert read('a.jpg,10\nb.jpg,9\nc.jpg,2\n')[1:] == (('2', '9', '10'), [2, 1, 0])


def test_line_breaks_of_unicode_are_text(read):
    assert read('a.jpg,ant\u2028x\nb.jpg,bee\x85\x0cx\n')[1] == ('ant\u2028x', 'bee\x85\x0cx')


def test_numbers_of_thousands_of_digits_are_names(read):
    assert read(f'a.jpg,{"9" * 5000}\nb.jpg,10\n')[2] == [1, 0]


def test_given_classes(read):
    assert read(SINGLE, metainfo=dict(classes=['bee', 'cow', 'ant']))[1:] == (('bee', 'cow', 'ant'), [0, 2, 0])
    numbers = 'a.jpg,1\nb.jpg,0\n'
    assert read(numbers, metainfo=dict(classes=['bee', 'cow', 'ant']))[1:] == (('bee', 'cow', 'ant'), [1, 0])
    assert read(numbers, metainfo=dict(classes=['0', '2', '1']))[2] == [2, 0]  # names come first


def test_classes_of_a_file(read, tmp_path):
    (tmp_path / 'classes.txt').write_text('bee\ncow\nant\n')
    assert read(SINGLE, classes=str(tmp_path / 'classes.txt'))[2] == [0, 2, 0]
    (tmp_path / 'train.csv').write_text('image,label\n8.jpg,aphid\n9.jpg,bee\n7.jpg,ant\n')
    assert read(SINGLE, classes_from='train.csv')[1:] == (('ant', 'aphid', 'bee'), [2, 0, 2])


def test_parts_of_one_file_have_the_same_classes(read):
    content = 'image,label,split\n1.jpg,bee,train\n2.jpg,ant,train\n3.jpg,bee,val\n4.jpg,cow,test\n'
    classes = ('ant', 'bee', 'cow')
    assert read(content, where=dict(split='val')) == (['3.jpg'], classes, [1])
    assert read(content, where=dict(split=['train', 'test']))[2] == [1, 0, 2]
    with pytest.raises(InputError, match="no row has .'dev'. in the column 'split', only test, train, val"):
        read(content, where=dict(split='dev'))


def test_rows_without_label_are_left_out(read):
    content = 'image,label\n1.jpg,bee\n2.jpg,\n3.jpg,-1\n4.jpg,u\n'
    assert read(content) == (['1.jpg'], ('bee',), [0])
    assert '3 of 4 rows have no label' in read.log[0] and 'line 3 first' in read.log[0]
    assert read('image,label\n1.jpg,U\n2.jpg,V\n', metainfo=dict(classes=['U', 'V']))[2] == [
        0,
        1,
    ]  # a class of this name


def test_columns_of_classes(read):
    content = 'image,ant,bee\n1.jpg,1,0\n2.jpg,,U\n3.jpg,-1,1.0\n4.jpg,false,True\n'
    states = [[1, 0], [-1, -1], [-1, 1], [0, 1]]
    assert read(content) == ([f'{i}.jpg' for i in range(1, 5)], ('ant', 'bee'), states)
    assert read(content, metainfo=dict(classes=['bee', 'ant']))[2] == [row[::-1] for row in states]
    assert read('image,bee\n1.jpg,1\n2.jpg,\n', metainfo=dict(classes=['bee']))[2] == [[1], [-1]]
    assert read(content, label_column=['bee'])[1:] == (('bee',), [row[1:] for row in states])
    no_header = content.partition('\n')[2]
    assert read(no_header, metainfo=dict(classes=['cow', 'dog']))[1:] == (('cow', 'dog'), states)


def test_other_columns_than_classes(read):
    content = 'Path,Age,ant,bee\n1.jpg,68,1,0\n'
    with pytest.raises(InputError, match=r"line 2, column 'Age': expected 1, 0, or blank.* set `label_column`"):
        read(content)
    assert read(content, label_column=['ant', 'bee'])[1:] == (('ant', 'bee'), [[1, 0]])
    assert read(content, metainfo=dict(classes=['ant', 'bee']))[2] == [[1, 0]]


def test_lists_of_labels(read):
    content = 'image,labels\n1.jpg,bee|ant\n2.jpg,cow\n3.jpg,\n4.jpg,none\n5.jpg, ant | \n'
    classes = ('ant', 'bee', 'cow')
    states = [[1, 1, 0], [0, 0, 1], [-1, -1, -1], [0, 0, 0], [1, 0, 0]]
    assert read(content)[1:] == (classes, states)
    unlisted = [[1, 1, -1], [-1, -1, 1], [-1, -1, -1], [0, 0, 0], [1, -1, -1]]
    assert read(content, unlisted_as='unknown')[2] == unlisted
    assert read(content.replace('|', '/'), separator='/')[2] == states
    assert read(content.replace('none', 'No finding'), no_class='No finding')[2] == states
    assert read('a.jpg,1|0\nb.jpg,2\n', metainfo=dict(classes=classes))[2] == [[1, 1, 0], [0, 0, 1]]


def test_rows_of_an_image_are_united(read):
    content = 'image,label\n1.jpg,bee\n2.jpg,ant\n1.jpg,cow\n'
    with pytest.raises(InputError, match='list.csv, line 4: 1.jpg has another label than in line 2.*multi_label=True'):
        read(content)
    assert read(content, multi_label=True)[2] == [[0, 1, 1], [1, 0, 0]]
    assert read(SINGLE + '2.jpg,ant\n')[0] == ['1.jpg', '2.jpg', '3.jpg']
    assert '1 of 4 rows repeat an image' in read.log[0]


def test_other_encodings_are_named(read):
    assert read('image,label\nkäfer.jpg,Käfer\n'.encode('latin-1'))[:2] == (['käfer.jpg'], ('Käfer',))
    assert 'is read as WINDOWS-1252' in read.log[0]
    assert read('image,label\nkäfer.jpg,Käfer\n'.encode('mac_roman'), encoding='mac_roman')[1] == ('Käfer',)
    with pytest.raises(InputError, match='list.csv is not in ascii'):
        read('a.jpg,Käfer\n', encoding='ascii')
    with pytest.raises(InputError, match="no encoding 'utf-9'"):
        read(SINGLE, encoding='utf-9')


@pytest.mark.parametrize(
    'content, options, message',
    [
        ('', {}, 'list.csv is empty'),
        ('image,label\n', {}, 'has a header, but no rows'),
        ('image\n1.jpg\n', {}, 'has one column'),
        ('1.jpg,ant\n2.jpg,bee,cow\n', {}, r'line 2: expected 2 cells as in line 1, but got 3: 2.jpg,bee,cow'),
        (SINGLE, dict(label_column='lable'), "no column 'lable'. Did you mean label"),
        (SINGLE, dict(image_column='file'), "no column 'file'. It has image, label"),
        (SINGLE, dict(classes=['ant', 'bees']), "line 2: 'bee' is not one of the 2 classes. Did you mean bees"),
        (SINGLE, dict(metainfo=dict(classes=['ant', 'ant'])), "two classes are called 'ant'"),
        ('1.jpg,7\n2.jpg,0\n', dict(metainfo=dict(classes=['ant', 'bee'])), "line 1: '7' is not one of the 2 classes"),
        ('image,a,a\n1.jpg,1,0\n', {}, "two columns are called 'a'"),
        ('image,a,b\n1.jpg,1,0\n', dict(classes=['x', 'y', 'z']), 'has 2 columns of labels, but `classes` names 3'),
        ('image,a,b\n1.jpg,1,0\n1.jpg,1,1\n', {}, 'line 3: 1.jpg has another label than in line 2'),
        ('image,a,b\n1.jpg,1,0\n', dict(multi_label=False), 'needs one `label_column`'),
        ('image,label\n1.jpg,\n', {}, 'no row has a label'),
        (SINGLE, dict(delimiter=',,'), '`delimiter` to be one character'),
        (b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' + b'abc' * 99, {}, 'not a text file'),
        ('1.jpg,"' + 'x' * 200_000 + '\n', {}, 'line 1: field larger than field limit'),
        (SINGLE, dict(unlisted_as='maybe'), '`unlisted_as`'),
    ],
)  # fmt: skip
def test_errors(read, content, options, message):
    with pytest.raises(InputError, match=message):
        read(content, **options)


def test_folders_of_images(tmp_path):
    for name in ('lists/img/1.jpg', 'photos/2.jpg', 'photos/3.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    csv = tmp_path / 'lists/a.csv'

    def path(name: str, **options) -> str:
        csv.write_text(f'{name},ant\n')
        return CSVDataset(**{'ann_file': str(csv), **options}).get_data_info(0)['img_path']

    assert path('img/1.jpg') == f'{tmp_path}/lists/img/1.jpg'
    assert path('img\\1.jpg') == f'{tmp_path}/lists/img/1.jpg'
    in_root = dict(ann_file='lists/a.csv', data_root=str(tmp_path))
    assert path('photos/2.jpg', **in_root) == f'{tmp_path}/photos/2.jpg'
    assert path('2', data_prefix='photos', suffix='.jpg', header=False, **in_root) == f'{tmp_path}/photos/2.jpg'
    assert path('img/1.jpg', **in_root) == f'{tmp_path}/lists/img/1.jpg'
    assert path(f'{tmp_path}/photos/3.jpg', **in_root) == f'{tmp_path}/photos/3.jpg'
    with pytest.raises(FileNotFoundError, match=r'1 of 1 images are missing, .*/photos/9.jpg first.*relative'):
        path('9.jpg', data_prefix='photos', **in_root)
    with pytest.raises(FileNotFoundError, match='CSV file .*/b.csv does not exist'):
        path('9.jpg', ann_file=f'{tmp_path}/b.csv')
    with pytest.raises(FileNotFoundError, match='CSV file .*/photos is a folder'):
        path('9.jpg', ann_file=f'{tmp_path}/photos')


def build(tmp_path, content: str, **options):
    (tmp_path / 'list.csv').write_text(content)
    cfg = dict(type='ltmm.CSVDataset', ann_file=str(tmp_path / 'list.csv'), check_files=False, **options)
    init_default_scope('mmpretrain')
    return DATASETS.build(cfg)


def test_counts_and_wrappers(tmp_path):
    rows = ''.join(f'{label}{i}.jpg,{label}\n' for label in 'abc' for i in range(20))
    single = build(tmp_path, rows)
    assert class_distribution_of(single).instance_counts.tolist() == [20, 20, 20]
    assert np.bincount(LongTailed(single, 4).get_gt_labels()).tolist() == [20, 10, 5]
    multi = build(tmp_path, 'image,a,b\n1.jpg,1,\n2.jpg,1,0\n3.jpg,U,1\n4.jpg,0,0\n')
    distribution = class_distribution_of(multi)
    assert (distribution.instance_counts.tolist(), distribution.num_images) == ([2, 1], 4)
    assert [multi.get_cat_ids(i) for i in range(4)] == [[0], [0], [1], []]
    assert multi.get_data_info(0)['gt_score'].dtype == np.float32
    partial = PartialLabels(multi, 1.0, unknown_as='unknown', keep_one=False)
    assert partial.states.tolist() == [[-1, -1], [-1, 0], [-1, -1], [0, 0]]
