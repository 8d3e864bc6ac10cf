"""What docs/media.md shows to servers that sign URLs by themselves, in each of its languages."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ingest_api.url_signing import UrlSigner

PAGE = (Path(__file__).parents[3] / "docs" / "media.md").read_text()
SIGNER = UrlSigner(["k" * 32])
APP = "demo.app-1_x"
PATH = "/v1/media/0123abcd/image"


def snippet(language: str) -> str:
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


def test_python():
    scope: dict = {}
    exec(compile(snippet("python"), "docs/media.md", "exec"), scope)  # noqa: S102 - our own page
    url = scope["signed"](SIGNER.key_of(APP), APP, PATH, 60, w=640, fit="cover", h=480, format="webp", q=80)
    assert SIGNER.check(*url.split("?")).app == APP


def test_node(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    query = json.dumps({"w": 640, "fit": "cover", "h": 480, "customer_id": "fam-1"})
    call = f"console.log(signed({SIGNER.key_of(APP)!r}, {APP!r}, {PATH!r}, 60, {query}));"
    script = tmp_path / "signing.mjs"
    script.write_text(snippet("js") + call)
    url = subprocess.run([node, script], capture_output=True, text=True, check=True).stdout.strip()
    assert SIGNER.check(*url.split("?")).app == APP
