import pytest
from mmengine.config import Config

from ltmm.engine.post_process.validation_data import trained_dataset, validation_dataset


def config(train, val=None, test=None):
    test = test or dict(type='CIFAR100', split='test')
    loaders = dict(train_dataloader=dict(dataset=train), test_dataloader=dict(dataset=test))
    return Config(loaders | (dict(val_dataloader=dict(dataset=val)) if val else {}))


LONG_TAILED = dict(type='ltmm.LongTailed', imbalance_factor=100, dataset=dict(type='ltmm.CIFAR100'))
PLAIN = dict(type='ltmm.INaturalist2018')


def test_validation_set_of_the_config_comes_first():
    val = dict(type='CIFAR100', split='val', pipeline=['other'])
    assert validation_dataset(config(LONG_TAILED, val)) == (val, 'val')


def test_validation_set_that_is_the_test_set_with_another_pipeline_is_not_used():
    test = dict(type='CIFAR100', split='test', pipeline=['one'], test_mode=True)
    dataset, found = validation_dataset(config(LONG_TAILED, {**test, 'pipeline': ['two']}, test), val_images=7)
    assert found == 'holdout'
    assert dataset == {**LONG_TAILED, 'val_images': 7}


def test_other_part_of_a_holdout():
    train = dict(type='ltmm.Holdout', part='train', dataset=LONG_TAILED)
    wrapped = dict(type='RepeatDataset', times=2, dataset=train)
    dataset, _ = validation_dataset(config(wrapped), 'holdout')
    assert dataset.dataset == {**train, 'part': 'val'}
    assert train['part'] == 'train'


@pytest.mark.parametrize(
    ('val', 'split', 'message'),
    [
        (dict(type='CIFAR100', split='test', lazy_init=True), None, 'but val_dataloader is the test set and the tr'),
        (None, 'val', 'but the config has no val_dataloader and'),
        (None, None, r"the training set leaves no images out. Train on dict\(type='ltmm.Holdout', part='train'"),
        (dict(type='CIFAR100', split='val'), 'holdout', 'but the training set leaves no images out'),
        (None, 'test', "`val_split` to be one of .* but got 'test'"),
    ],
)
def test_test_set_is_never_used(val, split, message):
    with pytest.raises(ValueError, match=message):
        validation_dataset(config(PLAIN, val), split)


def test_advice_where_images_are_left_out():
    test = dict(type='CIFAR100', split='test')
    with pytest.raises(ValueError, match=r'val_dataloader is the test set\. Use .*--val-split holdout'):
        validation_dataset(config(LONG_TAILED, test, test), 'val')


@pytest.mark.parametrize('val', [None, dict(type='CIFAR100', split='val')])
def test_number_of_images_that_would_be_ignored(val):
    train = dict(type='ltmm.Holdout', part='train', dataset=PLAIN)
    with pytest.raises(ValueError, match='`val_images` .* the validation data are .*Leave it out'):
        validation_dataset(config(train, val), val_images=7)


def test_images_that_a_model_was_trained_on():
    part = dict(type='ltmm.Holdout', part='train', dataset=PLAIN)
    assert trained_dataset(config(dict(type='RepeatDataset', times=2, dataset=part))) == part
    assert trained_dataset(config(dict(type='ConcatDataset', datasets=[PLAIN, part]))) == PLAIN
    with pytest.raises(ValueError, match='the config has no train_dataloader'):
        trained_dataset(Config(dict()))
