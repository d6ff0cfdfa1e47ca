"""docs/fleet.md, docs/archive.md, docs/drift.md and docs/security.md: the commands and tests that they name exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import ROOT
from PIL import Image

from oddeven.runtime.cli.main import COMMANDS, cli


def lines(page):
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def commands(page):
    return [line for line in lines(page) if line.startswith("oddeven ")]


@pytest.mark.parametrize(("page", "count"), [("fleet.md", 7), ("archive.md", 3), ("drift.md", 3)])
def test_every_command_of_the_page_is_one_that_the_command_line_takes(page, count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "fleet-key").touch()
    found = commands(page)
    assert len(found) == count
    for line in found:
        _, name, *arguments = shlex.split(line)
        assert name in COMMANDS
        command = cli.get_command(click.Context(cli), name)
        assert command.make_context(name, arguments).params


def test_a_folder_is_scored_and_read_as_the_archive_page_says(raw, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "photos").mkdir()
    Image.fromarray(raw["x_test"][0]).save(tmp_path / "photos" / "7.png")
    ours = [line for line in lines("archive.md") if line.startswith(("oddeven score photos", "python "))]
    assert len(ours) == 2
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(ours)], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "'label': 'odd'" in done.stdout) == (0, True), done.stderr
    assert (tmp_path / "answers.html").exists()


def test_every_test_that_the_security_page_names_is_there():
    rows = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"`(tests/[^`]+)`", row) for row in rows]
    assert len(named) > 10
    for match in named:
        path, _, function = match[1].partition("::")
        assert f"def {function}(" in (ROOT / path).read_text() if function else (ROOT / path).exists()
