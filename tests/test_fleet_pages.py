"""docs/fleet.md, docs/archive.md and docs/security.md: the commands and tests that they name exist."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from conftest import ROOT

from oddeven.runtime.cli.main import COMMANDS, cli


def commands(page):
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("oddeven ")]


@pytest.mark.parametrize(("page", "count"), [("fleet.md", 6), ("archive.md", 2)])
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


def test_every_test_that_the_security_page_names_is_there():
    rows = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"`(tests/[^`]+)`", row) for row in rows]
    assert len(named) > 10
    for match in named:
        path, _, function = match[1].partition("::")
        assert f"def {function}(" in (ROOT / path).read_text() if function else (ROOT / path).exists()
