import numpy as np
import pytest
import torch

from ltmm.engine.post_process import build_logit_files
from ltmm.evaluation.functional import set_coverage
from ltmm.models.post_process import conformal_quantile, fit_temperature
from ltmm.registry import MODELS
from ltmm.utils.predictions import read_predictions, write_predictions

COUNTS = [300, 60, 30]


def logits_of(label, seed):
    """Logits of a model that prefers frequent classes."""
    noise = torch.randn(len(label), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 3 * (torch.eye(3)[label] + noise) + torch.tensor(COUNTS).log()


@pytest.fixture
def files(tmp_path):
    """Files of 90 validation and 60 test samples, balanced."""
    paths = []
    for seed, (split, num) in enumerate(dict(val=30, test=20).items()):
        label = torch.arange(3).repeat(num)
        paths.append(tmp_path / f'{split}.npz')
        np.savez(paths[-1], logits=logits_of(label, seed).numpy(), gt_label=label.numpy())
        np.save(tmp_path / f'{split}_zero_shot.npy', logits_of(label, seed + 2).numpy())
    return paths


def build(files, name, counts=COUNTS, **settings):
    return build_logit_files(*files, MODELS.build(dict(type=f'ltmm.{name}', **settings)), counts)


def test_the_strength_is_searched(files):
    processor = build(files, 'LogitAdjustment')
    processor.fit(grid=(0, 2, 5))
    val = torch.arange(3).repeat(30)
    hits = [
        (logits_of(val, 0) - tau * (torch.tensor(COUNTS) / sum(COUNTS)).log()).argmax(1) == val
        for tau in (0, 0.5, 1, 1.5, 2)
    ]
    assert processor.step.tau == 0.5 * int(np.argmax([hit.double().mean() for hit in hits]))


def test_the_class_mix_is_compared_once(files, monkeypatch):
    told = []
    monkeypatch.setattr('ltmm.engine.post_process.class_mix.print_log', lambda text, *_: told.append(text))
    label = torch.arange(3).repeat_interleave(torch.tensor(COUNTS) // 10)
    np.savez(files[0], logits=logits_of(label, 0).numpy(), gt_label=label.numpy())
    build(files, 'TemperatureScaling').fit()
    assert len(told) == 1 and '33 % of the test images' in told[0]


def test_temperature_is_that_of_the_logits(files, tmp_path):
    processor = build(files, 'TemperatureScaling')
    processor.run(tmp_path, 'new', {})
    val = torch.arange(3).repeat(30)
    assert processor.step.temperature == pytest.approx(fit_temperature(logits_of(val, 0), val))
    samples = read_predictions(tmp_path / 'new.npz')
    expected = (logits_of(torch.arange(3).repeat(20), 1) / processor.step.temperature).softmax(1)
    torch.testing.assert_close(torch.stack([s['pred_score'] for s in samples]).double(), expected)
    assert [int(s['gt_label']) for s in samples] == 20 * [0, 1, 2]


def test_scores_of_a_test_run_do_as_well_as_logits(files, tmp_path):
    scores = []
    for seed, (path, num) in enumerate(zip(files, (30, 20))):
        label = torch.arange(3).repeat(num)
        rows = zip(logits_of(label, seed).softmax(1), label)
        scores.append(path.with_stem(f'{path.stem}_scores'))
        write_predictions([dict(pred_score=score, gt_label=label[None]) for score, label in rows], scores[-1])
    figures = [build(paths, 'LogitAdjustment', tau=1.0).evaluate()[1] for paths in (files, scores)]
    assert figures[0].nll == pytest.approx(figures[1].nll, rel=1e-6)
    assert figures[0].report.figures() == pytest.approx(figures[1].report.figures(), nan_ok=True)


def test_conformal_sets_of_files(files, tmp_path):
    processor = build(files, 'ConformalSets', alpha=0.2)
    written = processor.run(tmp_path, 'new')
    assert written == [tmp_path / 'new.npz', tmp_path / 'new_coverage.png'] and written[1].exists()
    prior, val = torch.tensor(COUNTS) / sum(COUNTS), torch.arange(3).repeat(30)
    score = 1 - logits_of(val, 0).softmax(1) / prior
    quantile = conformal_quantile(score[range(90), val], 0.2)
    sets = torch.stack([sample['pred_set'] for sample in read_predictions(written[0])])
    test = torch.arange(3).repeat(20)
    assert torch.equal(sets, 1 - logits_of(test, 1).softmax(1) / prior <= quantile)
    assert processor.evaluate()[1].coverage.mean() == set_coverage(sets.numpy(), test.numpy()).coverage.mean()


@pytest.mark.parametrize('subtracts', [None, True, False])
def test_gla_of_files(files, tmp_path, subtracts):
    zero_shot = {split: str(tmp_path / f'{split}_zero_shot.npy') for split in ('val', 'test')}
    processor = build(files, 'GeneralizedLogitAdjustment', zero_shot=zero_shot, subtracts_prior=subtracts)
    (path,) = processor.run(tmp_path, 'new')
    assert processor.step.subtracts_prior == (subtracts is not False)
    test = torch.arange(3).repeat(20)
    expected = processor.step.combine(logits_of(test, 1), logits_of(test, 3)).softmax(1)
    scores = torch.stack([sample['pred_score'] for sample in read_predictions(path)])
    torch.testing.assert_close(scores.double(), expected)


@pytest.mark.parametrize(
    ('name', 'counts', 'message'),
    [
        ('NearestClassMean', COUNTS, 'needs the features of the images, which files of logits lack'),
        ('TauNorm', COUNTS, 'TauNorm needs the layers of the model'),
        ('NorCal', COUNTS, 'NorCal is for detectors'),
        ('TemperatureScaling', [5, 5], r'as many classes in .*val.npz as in the class counts, but got 3 and 2'),
        ('TemperatureScaling', dict(a=5, b=4, c=3), 'Expected class names in files of logits'),
    ],
)
def test_what_files_cannot_give_is_refused(files, name, counts, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build(files, name, counts).fit()


FOUR = np.ones(4, int)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(logits=np.ones((4, 3))), 'Expected the arrays `gt_label` and `logits` or `pred_score`'),
        (
            dict(logits=np.ones((4, 3)), gt_label=np.array([0, 1, 2, 3])),
            'Expected labels from 0 to 2 in .*, but got 0 to 3',
        ),
        (dict(logits=np.ones((4, 3)), gt_label=np.ones(4)), 'one class index per sample'),
        (dict(logits=np.ones(4), gt_label=FOUR), r'Expected `logits` \(N, C\)'),
        (dict(logits=np.ones((4, 3)), gt_label=np.ones((4, 2), int)), r'and \(4, 2\)'),
        (
            dict(logits=np.eye(4, 3) + np.eye(4, 3, -3), gt_label=FOUR),
            'call that array `pred_score`',
        ),
        (
            dict(logits=np.full((4, 3), np.inf), gt_label=FOUR),
            'Expected finite logits in .*, but 12 are not',
        ),
    ],
)
def test_broken_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / 'z.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        build([tmp_path / 'z.npz'] * 2, 'TemperatureScaling')
