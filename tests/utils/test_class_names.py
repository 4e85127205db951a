import pytest

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.utils import class_names

TRAINED = ('bus', 'car', 'cat')


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(class_names, 'print_log', lambda text, *_: found.append(text))
    return found


@pytest.mark.parametrize(
    'tested, message',
    [
        (('bus', 'cat', 'dog'), "class 1 is 'car' in training and 'cat' in the test set. Set `metainfo="),  # slides
        (('car', 'bus', 'cat'), "class 0 is 'bus' in training and 'car'"),
        (('emu', 'fox', 'car'), "class 2 is 'cat' in training and 'car'"),
        (('bus', 'cat'), r"the 3 classes .* has 2 classes; only in training: 'car'; only in the test set: none"),
        (('bus', 'car', 'cat', 'dog'), "has 4 classes; only in training: none; only in the test set: 'dog'"),
    ],
)
def test_other_classes(tested, message):
    with pytest.raises(ClassDistributionError, match=message):
        class_names.check_class_names(TRAINED, tested, 'the test set')


@pytest.mark.parametrize(
    'tested, shown',
    [
        (('bus', 'Car', 'cat'), "1 of 3 .*: 'car' and 'Car' (class 1). They"),
        (('Bus', 'car', 'dog'), "2 of 3 .*: 'bus' and 'Bus' (class 0), 'cat' and 'dog' (class 2). They"),
    ],
)
def test_other_names_get_a_warning(warnings, tested, shown):
    class_names.check_class_names(TRAINED, list(tested), 'the test set')
    number, pairs = shown.split('.*')
    assert len(warnings) == 1 and warnings[0].startswith(number) and pairs in warnings[0]


def test_same_classes(warnings):
    twice = ('crane', 'cat', 'crane')  # as in ImageNet
    class_names.check_class_names(twice, list(twice), 'the test set')
    ClassDistribution([3, 2, 1]).check_classes(TRAINED, 'the test set')  # training without names
    ClassDistribution([3, 2, 1], class_names=TRAINED).check_classes(None, 'the test set')
    assert not warnings
    with pytest.raises(ClassDistributionError, match='the 2 classes .* has 3'):
        ClassDistribution([3, 2]).check_classes(TRAINED, 'the test set')
