import numpy as np
import pytest

from ltmm.utils.errors import InputError
from ltmm.visualization import plot_attention


def image(caption, highest):
    weights = np.full((2, 2), (1 - highest) / 3)
    weights[0, 1] = highest
    return caption, np.zeros((8, 6, 3), np.uint8), weights


def test_captions_groups_and_scale(tmp_path):
    groups = dict(many=[image('cat', 0.5), image('dog', 0.4)], few=[image('emu', 0.75), image('yak\nas cat', 0.3)])
    text = plot_attention(groups, tmp_path / 'attention.svg', 'the title').read_text()
    for part in ('cat', 'dog', 'emu', 'yak', 'as cat', 'many-shot', 'few-shot', 'the title', 'weight, 1 if even'):
        assert f'<!-- {part} -->' in text
    assert text.count('<image ') == 2 * 4 + 1  # each image without and with its attention, and the scale
    assert '<!-- 3.0 -->' in text and '<!-- 3.5 -->' not in text  # the scale ends at 4 * 0.75


def test_groups_of_different_length(tmp_path):
    with pytest.raises(InputError, match=r'equally many images in each group, at least one, but got \[1, 2\]'):
        plot_attention(dict(many=[image('a', 0.5)] * 2, few=[image('b', 0.5)]), tmp_path / 'attention.png')
