"""Files that are whole or not there."""

import os
import tempfile

from mmengine.fileio import LocalBackend, register_backend

__all__ = ['AtomicLocalBackend']


@register_backend('ltmm.atomic')
class AtomicLocalBackend(LocalBackend):
    """The local disk, where a file appears under its name only when all of it is written."""

    def put(self, obj: bytes | memoryview, filepath: str | os.PathLike) -> None:
        """Write ``obj`` beside ``filepath``, then move it there.

        Raises:
            OSError: the disk is full or not writable; what stood under ``filepath`` is untouched.
        """
        folder = os.path.dirname(os.path.abspath(filepath))
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix='.' + os.path.basename(filepath), dir=folder)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, filepath)
        except BaseException:
            os.unlink(temporary)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
