from pathlib import Path

import ltmm.evaluation


def test_evaluation_does_not_import_visualization():
    files = Path(ltmm.evaluation.__file__).parent.rglob('*.py')
    assert not [file for file in files if 'ltmm.visualization' in file.read_text()]
