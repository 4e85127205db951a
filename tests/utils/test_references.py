import pytest
from mmengine.config import Config
from toy import COUNTS

from ltmm.utils.errors import InputError
from ltmm.utils.references import count_classes, resolve_references


def resolved(**values) -> dict:
    cfg = Config(values)
    count_classes(cfg)
    resolve_references(cfg)
    return cfg.to_dict()


def test_references_take_the_value_with_its_type():
    cfg = resolved(
        size=[4, 5],
        num_classes=3,
        head=dict(num_classes='${num_classes}', losses=[dict(classes='${num_classes}')], sizes=('${size}',)),
        copy='${neck.first}',
        neck=dict(first=dict(classes='${num_classes}')),
        file='${root}/${name}.json',
        root='my',
        name='a',
        scale='$5 {root}',
    )
    assert cfg['head'] == dict(num_classes=3, losses=[dict(classes=3)], sizes=([4, 5],))
    assert cfg['copy'] == dict(classes=3)
    assert cfg['file'] == 'my/a.json' and cfg['scale'] == '$5 {root}'


def test_references_to_references():
    assert resolved(a='${b}/x', b='${c}', c='my', d=dict(e='${a}'))['d'] == dict(e='my/x')


def test_later_values_count():
    cfg = Config(dict(num_classes=3, head=dict(num_classes='${num_classes}')))
    cfg.merge_from_dict(dict(num_classes=7))
    resolve_references(cfg)
    assert cfg.head.num_classes == 7


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (dict(root=None, path='${root}/a'), '`root` of the config is not set.*--cfg-options root='),
        (dict(path='${root}/a'), '`root` of the config is not set'),
        (dict(a=dict(b=1), path='${a.c}'), '`a.c` of the config is not set'),
        (dict(a=dict(b=1), path='${a.b.c}'), '`a.b.c` of the config is not set'),
        (dict(a=dict(b='${a.b}')), 'refers to itself'),
        (dict(a=dict(b='${a}')), 'refers to itself'),
        (dict(a='${a}'), '`a` of the config is not set|refers to itself'),
        (dict(a='${b}', b='${a}'), 'refers to itself'),
    ],
)
def test_values_that_are_missing_or_circular(values, message):
    with pytest.raises(InputError, match=message):
        resolved(**values)


def test_classes_are_counted():
    dataset = dict(type='ltmm.ToyImages', counts='${counts}')
    cfg = resolved(num_classes='auto', counts=COUNTS, train_dataloader=dict(dataset=dataset), c='${num_classes}')
    assert cfg['num_classes'] == cfg['c'] == len(COUNTS)


def test_classes_without_training_set():
    with pytest.raises(InputError, match="num_classes='auto' needs a train_dataloader"):
        resolved(num_classes='auto', train_dataloader=None)
