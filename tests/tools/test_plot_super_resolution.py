import runpy

import numpy as np
import torch
from PIL import Image
from toy import ROOT

from ltmm.registry import MODELS

main = runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_super_resolution.py'))['main']


def test_picture_of_two_models(tmp_path, capsys):
    (tmp_path / 'photos').mkdir()
    image = np.random.RandomState(0).randint(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / 'photos/0.png')
    net = dict(type='ltmm.FSRCNN', dim=4, shrunk_dim=2, num_mappings=1)
    model = dict(type='ltmm.ResidualSR', scale=2, backbone=net, loss=dict(type='ltmm.PixelLoss'))
    dataset = dict(type='ltmm.SuperResolutionDataset', data_root=str(tmp_path / 'photos'), scale=2)
    (tmp_path / 'c.py').write_text(f'model = {model}\ntest_dataloader = dict(dataset={dataset})\n')
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), tmp_path / 'c.pth')
    trained, out = [str(tmp_path / 'c.py'), str(tmp_path / 'c.pth')], tmp_path / 'a.png'
    main(['--model', 'L1', *trained, '--model', 'FPL', *trained, '--size', '16', '--out', str(out)])
    assert capsys.readouterr().out == f'Wrote {out}\n'
    with Image.open(out) as picture:
        assert len(picture.convert('RGB').getcolors(2**24)) > 100
