"""The modules of the training job beside `train.py`, as spark-submit takes them by --py-files."""

import io
import zipfile
from pathlib import Path

FILE_NAME = "job.zip"
_ROOT = Path(__file__).parent
_A_TIME = (1980, 1, 1, 0, 0, 0)


def package() -> bytes:
    """A zip of the package `recommender_trigger.job`: for the same code the same bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in (_ROOT / "__init__.py", *sorted((_ROOT / "job").glob("*.py"))):
            info = zipfile.ZipInfo(path.relative_to(_ROOT.parent).as_posix(), _A_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, path.read_bytes())
    return sink.getvalue()
