"""What docs/start/own_csv.md shows is read as it says."""

import re

import pytest
from toy import ROOT

from ltmm.datasets import CSVDataset

PAGE = (ROOT / 'docs/start/own_csv.md').read_text()
FILES = {
    'my/labels.csv': re.search(r'```text\n(image.+?)```', PAGE, re.S)[1],
    'my/all.csv': 'image,label,split\na1.jpg,dent,train\na2.jpg,rust,val\n',
    'my/ids.csv': 'image,label\n0042,dent\n0043,rust\n',
    'my/lists.csv': 'image,labels\na1.jpg,dent;rust\na2.jpg,dent\n',
    **dict.fromkeys(('my/a1.jpg', 'my/a2.jpg', 'my/sub/a3.jpg', 'my/photos/0042.jpg', 'my/photos/0043.jpg'), ''),
}
EXPECTED = {
    'my/labels.csv': [[1, 0, -1], [-1, 1, 0], [0, -1, 1]],
    'my/all.csv': [0],
    'my/ids.csv': [0, 1],
    'my/lists.csv': [[1, 1], [1, -1]],
}


@pytest.mark.parametrize('file', EXPECTED)
def test_examples(file, tmp_path, monkeypatch):
    (code,) = re.findall(rf"^dict\(type='ltmm.CSVDataset', ann_file='{file}'.*\)$", PAGE, re.M)
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    options = eval(code)
    options.pop('type')
    dataset = CSVDataset(**options)
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = [record['gt_score'].tolist() if 'gt_score' in record else record['gt_label'] for record in records]
    assert labels == EXPECTED[file]
