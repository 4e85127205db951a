import pytest
import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample

from ltmm.evaluation import TeacherMetric
from ltmm.models.state import TrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

COUNTS = [200, 150, 60, 30, 8, 4]  # two classes in each group
BACKBONE = dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
HEAD = dict(type='ltmm.LongTailClsHead', in_channels=8, num_classes=6)


def samples(*labels):
    return [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(label) for i, label in enumerate(labels)]


@pytest.fixture
def checkpoints(tmp_path):
    """Trained experts, {group: (network, checkpoint)}."""
    experts = {}
    for group in ('many', 'medium', 'few'):
        expert = ImageClassifier(BACKBONE, head=dict(HEAD, num_classes=2))
        expert(torch.randn(8, 3, 8, 8))  # moves the running statistics
        torch.save(dict(state_dict=expert.state_dict()), tmp_path / f'{group}.pth')
        experts[group] = expert.eval(), str(tmp_path / f'{group}.pth')
    return experts


def student(checkpoints, **head):
    loss = dict(type='ltmm.LFMELoss', class_counts=COUNTS)
    teachers = {group: dict(num_classes=2, checkpoint=path) for group, (_, path) in checkpoints.items()}
    return MODELS.build(
        dict(type='ltmm.LFMEClassifier', backbone=BACKBONE, head=HEAD | dict(loss=loss) | head, teachers=teachers)
    )


@pytest.fixture
def model(checkpoints):
    model = student(checkpoints)
    model.init_weights()
    model.objective.set_progress(0, 10)
    model.objective.on_train_features(TrainFeatures(None, None, torch.arange(6), torch.arange(6), torch.randn(6, 6)))
    return model


def test_experts_side_by_side(model, checkpoints):
    images = torch.randn(4, 3, 8, 8)
    expected = torch.cat([expert(images) for expert, _ in checkpoints.values()], dim=1)
    torch.testing.assert_close(model.train().teacher_logits(images), expected)
    losses = model.loss(images, samples(0, 1, 2, 5))
    torch.testing.assert_close(
        losses, model.head.loss(model.extract_feat(images), samples(0, 1, 2, 5), teacher_logits=expected)
    )


def test_only_the_student_learns_and_is_saved(model):
    sum(model.loss(torch.randn(4, 3, 8, 8), samples(0, 1, 2, 5)).values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    plain = ImageClassifier(BACKBONE, head=HEAD)
    others = {name for name in model.state_dict() if 'loss_module' not in name}
    assert others == plain.state_dict().keys()


def test_validation_figures_of_the_experts(model, checkpoints):
    images = torch.randn(4, 3, 8, 8)
    predictions = model.eval().predict(images, samples(0, 1, 2, 5))
    right = [
        int(checkpoints[group][0](image[None]).argmax()) == label
        for image, group, label in zip(images, ['many', 'many', 'medium', 'few'], [0, 1, 0, 1])
    ]
    assert [bool(sample.teacher_is_right) for sample in predictions] == right
    metric = TeacherMetric()
    metric.process(None, [sample.to_dict() for sample in predictions])
    expected = dict(many=50 * sum(right[:2]), medium=100 * right[2], few=100 * right[3])
    assert metric.evaluate(4) == {f'teacher/{group}': value for group, value in expected.items()}


def test_a_test_needs_no_experts():
    model = student(dict.fromkeys(('many', 'medium', 'few'), (None, 'no/such/file.pth')))
    (sample,) = model.eval().predict(torch.randn(1, 3, 8, 8), samples(0))
    assert 'teacher_is_right' not in sample
    with pytest.raises(InputError, match='TeacherMetric expects `teacher_is_right`.*`val_evaluator` only'):
        TeacherMetric().process(None, [sample.to_dict()])
    with pytest.raises(FileNotFoundError, match='no/such/file.pth'):
        model.init_weights()


@pytest.mark.parametrize(
    'teachers',
    [['x.pth'], dict(many='x.pth'), dict(many=dict(num_classes=2)), dict(low=dict(num_classes=2, checkpoint=''))],
)
def test_wrong_teachers(teachers):
    head, model = HEAD | dict(loss=dict(type='ltmm.LFMELoss')), dict(type='ltmm.LFMEClassifier', backbone=BACKBONE)
    with pytest.raises(InputError, match=r"`teachers` to be \{group: .* of the groups \('many', .*but got"):
        MODELS.build(dict(model, head=head, teachers=teachers))


def test_needs_its_loss(checkpoints):
    with pytest.raises(TypeError, match='needs one ltmm.LFMELoss in its head, but got 0'):
        student(checkpoints, loss=dict(type='CrossEntropyLoss'))
