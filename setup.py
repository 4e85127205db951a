"""What setup.cfg cannot say: configs and tools belong into the package as ``ltmm/.mim``, where MMEngine looks."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copies configs and tools into the build; an editable installation gets links to them."""

    def run(self) -> None:
        super().run()
        mim = Path(ROOT if self.editable_mode else self.build_lib, 'ltmm', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in SHIPPED:
            if self.editable_mode:
                (mim / name).symlink_to(Path('..', '..', name))
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, mim / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy2(ROOT / name, mim / name)


setup(cmdclass=dict(build_py=BuildWithMim))
