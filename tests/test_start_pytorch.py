"""The code of docs/start/pytorch.md runs as it stands."""

import re

import pytest
import torch
from toy import ROOT

PAGE = (ROOT / 'docs/start/pytorch.md').read_text()
SECTIONS = re.split(r'^## ', PAGE, flags=re.M)
SNIPPETS = {section.partition('\n')[0]: re.findall(r'```python\n(.+?)```', section, re.S) for section in SECTIONS[1:]}


def run(*headings: str) -> dict:
    """Execute the snippets under the headings, in this order; return their names."""
    names = {'__name__': 'my_module'}
    for heading in headings:
        for code in SNIPPETS[heading]:
            exec(code, names)
    return names


def figures(line: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"'(\w+)': ([\d.]+)", line)}


def test_length_of_snippets():
    assert max(code.count('\n') for snippets in SNIPPETS.values() for code in snippets) <= 25


def test_loss_and_metric(capsys):
    names = run('Some data', 'A loss')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == repr(names['distribution']) and names['distribution'].instance_counts.tolist() == [500, 60, 6]
    plain, balanced = map(figures, lines[1:3])
    assert balanced['few'] > plain['few'] + 20 and balanced['top1'] > plain['top1']
    shown = [figures(line) for line in PAGE.splitlines() if line.startswith("{'top1'")]
    assert [plain, balanced] == [pytest.approx(line, abs=5) for line in shown]


def test_data_without_frequent_classes(capsys, monkeypatch):
    monkeypatch.setitem(
        SNIPPETS, 'Some data', [SNIPPETS['Some data'][0].replace('500, ', '90, '), *SNIPPETS['Some data'][1:]]
    )
    run('Some data', 'A loss')
    assert [list(figures(line)) for line in capsys.readouterr().out.splitlines()[1:]] == [['top1', 'medium', 'few']] * 2


def test_sampler_and_late_weights(capsys):
    names = run('Some data', 'A loss', 'A sampler', 'Weights late in training')
    counts = [eval(line) for line in capsys.readouterr().out.splitlines()[-2:]]
    assert counts[0] != counts[1] and all(sum(epoch) == 566 and min(epoch) > 30 for epoch in counts)
    loss, plain = names['criterion'], names['nn'].CrossEntropyLoss()
    logits, labels = torch.randn(3, 3), torch.tensor([0, 1, 2])
    assert loss(logits, labels) != plain(logits, labels)
    loss.set_progress(7, max_epochs=10)
    torch.testing.assert_close(loss(logits, labels), plain(logits, labels))


@pytest.mark.slow
def test_lightning(capsys):
    pytest.importorskip('lightning')
    names = run('Some data', 'A loss', 'A sampler', 'Lightning')
    assert names['trainer'].current_epoch == 3
    loader = names['trainer'].train_dataloader
    assert type(loader.sampler).__name__ == 'PowerSampler' and loader.sampler.epoch == 2
    assert float(capsys.readouterr().out.splitlines()[-1]) > 20


@pytest.mark.slow
def test_hugging_face(capsys, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)  # tools set it; Trainer then expects several processes
    for name in ('datasets', 'transformers', 'accelerate'):
        pytest.importorskip(name)
    names = run('Some data', 'A loss', 'A sampler', 'Hugging Face Trainer')
    trainer = names['trainer']
    assert trainer.state.epoch == 5
    assert float(capsys.readouterr().out.splitlines()[-1]) > 20
    model, criterion = names['Model'](16, 3), names['criterion']
    inputs = dict(x=torch.randn(4, 16), labels=torch.tensor([0, 1, 2, 2]))
    logits = model(inputs['x'])['logits']
    half = trainer.compute_loss(model, dict(inputs), num_items_in_batch=8)
    torch.testing.assert_close(half, criterion(logits, inputs['labels']) / 2)
