"""Exported models: tools/export.py."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy_processes import run_tool
from toy_trained import (
    EXPERTS,
    HEAD,
    MULTI_LABEL,
    NAMES,
    PIPELINE,
    PLAIN_BACKBONE,
    save_classifier,
    save_detector,
    write_image,
)

from ltmm.apis.classifier_graph import ClassifierGraph, batch_of, metadata_of
from ltmm.apis.export import check_export, example_inputs, export_model
from ltmm.apis.plain_weights import plain_model
from ltmm.apis.predict import predict_batch
from ltmm.apis.trained_model import TrainedModel, load_trained_model
from ltmm.utils.errors import InputError, InputTypeError

COUNTS = torch.tensor([50.0, 20, 5, 1, 1])


def load(files: tuple[Path, Path]) -> TrainedModel:
    config, checkpoint = files
    return load_trained_model(Config.fromfile(config), str(checkpoint), 'cpu')


def images(folder: Path) -> list[Path]:
    return [write_image(folder / 'in' / f'{i}.png', i) for i in range(3)]


def hook(**step) -> list[dict]:
    return [dict(type='ltmm.PostProcessHook', steps=[step])]


@pytest.mark.slow
def test_onnx_of_corrected_experts(tmp_path: Path):
    """The file alone gives aggregated and corrected scores of plain RGB images, in batches of any size."""
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    files = save_classifier(tmp_path, hooks=hook(type='ltmm.LogitAdjustment', tau=1.5), **EXPERTS)
    trained, paths = load(files), images(tmp_path)
    out = tmp_path / 'model.onnx'
    text = export_model(trained, 'onnx', out, example_inputs(trained, paths), with_preprocessing=True)
    assert 'the first class is the same for 3 of 3' in text
    session = onnxruntime.InferenceSession(str(out))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about['classes']) == list(NAMES)
    assert json.loads(about['input']) == dict(name='images', shape=['N', 3, 12, 16], dtype='uint8', channels='RGB')
    assert about['correction'] == 'LogitAdjustment(tau=1.5)'
    rgb = np.stack([cv2.resize(cv2.imread(str(path)), (16, 12))[..., ::-1] for path in paths]).transpose(0, 3, 1, 2)
    scores, logits = session.run(None, {'images': np.ascontiguousarray(rgb)})
    network = load(save_classifier(tmp_path / 'plain', **EXPERTS)).model
    with torch.no_grad():
        x = network.data_preprocessor(dict(inputs=torch.tensor(rgb[:, ::-1].copy())), False)['inputs']
        expected = network.head.expert_logits(network.extract_feat(x)).mean(0) - 1.5 * (COUNTS / 76).log()
    np.testing.assert_allclose(scores[:, :4].sum(1) + scores[:, 4], 1, rtol=1e-5)
    difference = torch.tensor(logits)[:, :4] - expected[:, :4]
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('parts', 'hooks'),
    [
        (dict(), ()),
        (dict(), hook(type='ltmm.TauNorm', tau=0.7)),
        (dict(head=MULTI_LABEL), ()),
        (dict(head=dict(HEAD, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=2))), ()),
        (dict(head=dict(HEAD, classifier=dict(type='ltmm.NormedLinear', scale=16))), ()),
    ],
    ids=['plain', 'tau_norm', 'multi_label', 'sigmoids', 'cosine'],
)
def test_graph_scores_as_the_model(tmp_path: Path, parts: dict, hooks: list):
    trained = load(save_classifier(tmp_path, hooks=hooks, **parts))
    packed = example_inputs(trained, images(tmp_path))
    expected = [sample.pred_score for sample in trained.model.test_step(_collated(packed))]
    for inside in (False, True):
        scores, _ = ClassifierGraph(trained, inside).eval()(batch_of(trained, packed, inside))
        torch.testing.assert_close(scores, torch.stack(expected))


def _collated(packed: list[dict]) -> dict:
    return dict(
        inputs=torch.stack([item['inputs'] for item in packed]), data_samples=[item['data_samples'] for item in packed]
    )


def test_torch_export(tmp_path: Path):
    trained = load(save_classifier(tmp_path, hooks=hook(type='ltmm.TemperatureScaling', temperature=2.0)))
    packed, out = example_inputs(trained, images(tmp_path)), tmp_path / 'model.pt2'
    export_model(trained, 'torch.export', out, packed)
    extra = {'classes.txt': ''}
    module = torch.export.load(str(out), extra_files=extra).module()
    x = trained.model.data_preprocessor(_collated(packed), False)['inputs']
    scores, logits = module(x[:1])
    plain = load(save_classifier(tmp_path / 'plain')).model
    torch.testing.assert_close(logits, plain(x[:1], mode='tensor') / 2)
    torch.testing.assert_close(scores, logits.softmax(1))
    assert json.loads(extra['classes.txt']) == list(NAMES)


def test_metadata_of_a_normalized_input(tmp_path: Path):
    trained = load(save_classifier(tmp_path))
    packed = example_inputs(trained, images(tmp_path))
    about = metadata_of(trained, batch_of(trained, packed, False), False)
    expected = dict(dtype='float32', channels='RGB', mean=[120, 110, 100], std=[50, 60, 70])
    assert json.loads(about['input']).items() >= expected.items()
    assert json.loads(about['train_images']) == [50, 20, 5, 1, 0]
    assert json.loads(about['pipeline'])[1] == dict(type='Resize', scale=[16, 12])


def test_worse_than_the_tolerance_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = load(save_classifier(tmp_path))
    packed, out = example_inputs(trained, images(tmp_path)), tmp_path / 'new/model.pt2'
    monkeypatch.setattr('ltmm.apis.export._write_program', lambda *args: lambda batch: np.full((len(batch), 5), 0.2))
    with pytest.raises(InputError, match='The exported scores differ by .* on 3 images'):
        export_model(trained, 'torch.export', out, packed)
    assert not list(out.parent.iterdir())


def test_what_cannot_be_exported(tmp_path: Path):
    experts = load(save_classifier(tmp_path / 'e', **EXPERTS))
    with pytest.raises(InputTypeError, match='cannot express MultiExpertClsHead of PerExpert'):
        plain_model(experts)
    with pytest.raises(InputTypeError, match=r'only in ltmm, ltmm\.ResNetCIFAR'):
        plain_model(load(save_classifier(tmp_path / 'r')))
    sigmoids = dict(HEAD, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=2))
    with pytest.raises(InputTypeError, match='LongTailClsHead of Linear with sigmoids'):
        plain_model(load(save_classifier(tmp_path / 's', head=sigmoids)))
    with pytest.raises(InputError, match=r'--out to end in \.onnx'):
        export_model(experts, 'onnx', tmp_path / 'model.pth', [])
    with pytest.raises(InputError, match='--size is for --images'):
        example_inputs(experts, [], (8, 8))
    pipeline = [PIPELINE[0], PIPELINE[2]]
    free = load(save_classifier(tmp_path / 'p', pipeline))
    paths = [write_image(tmp_path / '1.png', 1, (20, 30, 3)), write_image(tmp_path / '2.png', 2, (30, 30, 3))]
    with pytest.raises(InputError, match='gives all images one size'):
        batch_of(free, example_inputs(free, paths), False)


def test_refusal_before_loading(tmp_path: Path):
    """A detector as a graph is refused in the user's words; its checkpoint is not even looked for."""
    config, _ = save_detector(tmp_path)
    done = run_tool('tools/export.py', config, 'no.pth', '--format', 'onnx', '--out', tmp_path / 'model.onnx')
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith('InputTypeError: MaskRCNN is a detector, but --format onnx takes classifiers')
    early = Config(dict(model=dict(type='ltmm.EarlyExitClassifier')))
    for format, path in (('onnx', 'm.onnx'), ('torch.export', 'm.pt2')):
        with pytest.raises(InputTypeError, match='as many experts as an image needs'):
            check_export(early, format, Path(path))
    with pytest.raises(InputError, match='is for graphs'):
        check_export(early, 'weights', Path('m.pth'), with_preprocessing=True)


def test_weights_with_a_folded_correction(tmp_path: Path):
    """The written weights are those of mmpretrain's model, without counts, and predict the corrected scores."""
    files = save_classifier(
        tmp_path, hooks=hook(type='ltmm.TauNorm', tau=0.7), head=dict(HEAD, in_channels=64), **PLAIN_BACKBONE
    )
    trained, out = load(files), tmp_path / 'plain.pth'
    export_model(trained, 'weights', out, example_inputs(trained, images(tmp_path)))
    content = torch.load(out, weights_only=True)
    assert content['meta'] == dict(dataset_meta=dict(classes=list(NAMES)))
    assert not [name for name in content['state_dict'] if not name.startswith(('backbone.', 'head.fc.'))]
    weight = trained.model.head.fc.weight
    expected = weight / weight.norm(dim=1, keepdim=True) ** 0.7
    torch.testing.assert_close(content['state_dict']['head.fc.weight'], expected.detach())
    assert 'ltmm' not in out.with_suffix('.py').read_text()


WITHOUT_LTMM = """
import importlib.metadata as metadata, json, sys

distribution = metadata.distribution


def without_transformers(name):  # mmpretrain alone does not import beside transformers 5
    if name == 'transformers':
        raise metadata.PackageNotFoundError(name)
    return distribution(name)


metadata.distribution = without_transformers
sys.modules['ltmm'] = None  # cannot be imported
from mmpretrain import ImageClassificationInferencer

config, checkpoint, *images = sys.argv[1:]
predict = ImageClassificationInferencer(config, pretrained=checkpoint, device='cpu')
scores = [result['pred_scores'].tolist() for result in predict(images)]
print()  # ends the progress bar
print(json.dumps(scores))
"""


@pytest.mark.slow
def test_weights_load_without_ltmm(tmp_path: Path):
    """mmpretrain's inferencer gives the scores of the model in a process that cannot import ltmm."""
    trained = load(save_classifier(tmp_path, head=dict(HEAD, in_channels=64), **PLAIN_BACKBONE))
    paths, out = images(tmp_path), tmp_path / 'plain.pth'
    packed = example_inputs(trained, paths)
    export_model(trained, 'weights', out, packed)
    command = [sys.executable, '-c', WITHOUT_LTMM, out.with_suffix('.py'), out, *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [sample.pred_score.tolist() for sample in predict_batch(trained, packed)]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, atol=1e-6)


def test_broken_image_to_compare_on(tmp_path: Path):
    trained, (path, *_) = load(save_classifier(tmp_path)), images(tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r'0\.png cannot be read as an image') as error:
        example_inputs(trained, [path])
    assert '--skip-broken' not in str(error.value)  # tools/export.py has no such option


def test_weights_of_detectors(tmp_path: Path):
    """A box head of ltmm is mmdet's where its scores are a softmax; other scores are found by comparison."""
    softmax = load(save_detector(tmp_path / 'a', loss=dict(type='CrossEntropyLoss')))
    export_model(softmax, 'weights', tmp_path / 'a.pth', example_inputs(softmax, images(tmp_path)))
    assert 'ltmm' not in (tmp_path / 'a.py').read_text()
    content = torch.load(tmp_path / 'a.pth', weights_only=True)['state_dict']
    assert content['roi_head.bbox_head.fc_cls.weight'].shape == (5, 16)
    assert not [name for name in content if 'class_distribution' in name]
    sigmoids = load(save_detector(tmp_path / 'b', loss=dict(type='ltmm.EQLv2Loss')))
    with pytest.raises(InputError, match='computes them in another way'):
        export_model(sigmoids, 'weights', tmp_path / 'b.pth', example_inputs(sigmoids, images(tmp_path)))
    assert not (tmp_path / 'b.pth').exists()
    with pytest.raises(InputTypeError, match=r'do not fit the model without ltmm: size mismatch for .*fc_cls'):
        plain_model(load(save_detector(tmp_path / 'c', loss=dict(type='ltmm.SeesawLoss'))))  # two more outputs


def test_config_of_the_training_is_kept(tmp_path: Path):
    config = tmp_path / 'mine.py'
    config.write_text('mine')
    out = tmp_path / 'mine.pth'
    done = run_tool('tools/export.py', config, tmp_path / 'epoch_1.pth', '--format', 'weights', '--out', out)
    assert done.returncode == 2
    assert f'{config} exists: choose another name' in done.stderr
    assert config.read_text() == 'mine'
