"""The examples of docs/python-api.md, run in their order."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE, ONE_OUTPUT = ROOT / "docs" / "python-api.md", ROOT / "tests" / "data" / "tiny.int8.tflite"


def test_every_example_runs(tmp_path, monkeypatch, raw, capsys):
    Image.fromarray(raw["x_test"][0]).resize((200, 200)).save(tmp_path / "photo.jpg")
    with zipfile.ZipFile(ONE_OUTPUT) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
    (tmp_path / "bare.tflite").write_bytes(ONE_OUTPUT.read_bytes()[:end])
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(examples) >= 6
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("odd ")
    assert names["labels"] == ["odd"] * 40
    assert any("missing.jpg" in line for line in printed)
    assert printed[-1] == "defective"
