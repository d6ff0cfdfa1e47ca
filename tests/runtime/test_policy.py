"""A policy from the command line, from TOML, and from neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oddeven.runtime.errors import UsageError
from oddeven.runtime.parity.policy import Policy, load_policy


def toml(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = toml(tmp_path, "[tool.oddeven.parity]\nmax_drop_pp = 0.05\nmin_agreement = 1\n")
    policy = load_policy(path, max_drop_pp=0.2, confidence=None)
    assert (policy.max_drop_pp, policy.min_agreement, policy.confidence) == (0.2, 1.0, 0.95)


def test_pyproject_in_the_working_folder_is_read_where_it_has_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_policy(None) == Policy()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load_policy(None) == Policy()
    (tmp_path / "pyproject.toml").write_text("[tool.oddeven.parity]\nconfidence = 0.99\n")
    assert load_policy(None).confidence == 0.99


def test_a_named_policy_yields_to_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = load_policy(Path("small"))
    assert (small.max_drop_pp, small.max_upper_pp, small.min_agreement) == (2.0, 5.0, 0.95)
    assert load_policy(Path("small"), min_agreement=0.9) == replace(small, min_agreement=0.9)
    assert load_policy(Path("default")) == Policy()
    (tmp_path / "small").write_text("[tool.oddeven.parity]\ncount_gains = true\n")
    assert load_policy(Path("small")) == Policy(count_gains=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no table"),
        ("[tool.oddeven.parity", "Cannot read the policy"),
        ("[tool]\noddeven = 1\n", "oddeven is 1; expected a table"),
        ("[tool.oddeven]\nparity = 1\n", "has no table"),
        ("[tool.oddeven.parity]\nmax_drop = 1\n", "no setting 'max_drop'; known are max_drop_pp"),
        ("[tool.oddeven.parity]\nmax_drop_pp = 'much'\n", "must be a number, got 'much'"),
        ("[tool.oddeven.parity]\nmax_drop_pp = true\n", "must be a number, got True"),
        ("[tool.oddeven.parity]\ncount_gains = 1\n", "must be true or false, got 1"),
        ("[tool.oddeven.parity]\nmax_bytes = inf\n", "must be a whole number, got inf"),
        ("[tool.oddeven.parity]\nmax_bytes = -1\n", "-1 bytes, must not be negative"),
        (f"[tool.oddeven.parity]\nmax_drop_pp = 1{400 * '0'}\n", "The parity policy cannot be: int too large"),
        ("[tool.oddeven.parity]\nmin_agreement = 99.8\n", "must be a share from 0 to 1"),
        ("[tool.oddeven.parity]\nmax_drop_pp = 0.5\n", "must lie between 0 and its allowed upper limit"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path, text, says):
    with pytest.raises(UsageError) as caught:
        load_policy(toml(tmp_path, text))
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.toml.*or one of default, small"):
        load_policy(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match=r"Cannot read the policy in nosuch: No such file or directory\. Give a TOML"):
        load_policy(Path("nosuch"))


def test_a_broken_project_is_not_called_a_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.oddeven.parity")
    with pytest.raises(UsageError, match=r"Cannot read pyproject\.toml, .*: Expected .*\. Mend it"):
        load_policy(None)
