"""The snippets of docs/guides/export.md run as they stand."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy import ROOT
from toy_trained import NAMES, save_classifier, write_image

from ltmm.apis.export import example_inputs, export_model
from ltmm.apis.predict import predict_batch
from ltmm.apis.trained_model import load_trained_model


@pytest.mark.slow
def test_serving_without_ltmm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    monkeypatch.chdir(tmp_path)
    config, checkpoint = save_classifier(tmp_path)
    trained = load_trained_model(Config.fromfile(config), str(checkpoint), 'cpu')
    photo = write_image(tmp_path / 'photo.png', shape=(12, 16, 3))  # as large as the input
    packed = example_inputs(trained, [photo])
    for format, name in (('onnx', 'model.onnx'), ('torch.export', 'model.pt2')):
        export_model(trained, format, Path(name), packed, with_preprocessing=True)
    capsys.readouterr()
    serve, with_torch = re.findall(r'```python\n(.+?)```', (ROOT / 'docs/guides/export.md').read_text(), re.S)
    names: dict = {}
    exec(serve, names)
    expected = predict_batch(trained, packed)[0].pred_score
    order = expected.argsort(descending=True)[:3].tolist()
    assert capsys.readouterr().out.splitlines() == [f'{NAMES[label]} {expected[label]:.3f}' for label in order]
    exec(with_torch, names)
    torch.testing.assert_close(names['scores'][0], expected)
    assert cv2.imread(str(photo)).shape[:2] == (names['height'], names['width'])
    np.testing.assert_allclose(names['logits'].softmax(1)[0].numpy(), expected, rtol=1e-4)
