"""`[tool.oddeven.<command>]` of ./pyproject.toml: the defaults of a command's options."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def project(tmp_path, run):
    """A command in a folder with that pyproject.toml."""

    def command(text, *arguments):
        (tmp_path / "pyproject.toml").write_text(text)
        return run(*arguments, cwd=tmp_path)

    return command


def test_a_table_gives_defaults_and_the_command_line_wins(project, digit):
    text = "[tool.oddeven.predict]\nmodel = 'mlp'\nmin_confidence = 1.0\njson = true\n"
    answer = json.loads(project(f"\ufeff{text}", "predict", digit).stdout)  # Windows begins it so
    assert (answer["file"], answer["label"]) == (str(digit), "uncertain")
    answer = json.loads(project(text, "predict", digit, "--min-confidence", "0").stdout)
    assert answer["label"] == "odd"
    assert project(text, "predict", digit, "--csv").stdout.startswith("file,label,")
    csv = "[tool.oddeven.predict]\nmodel = 'mlp'\ncsv = true\njson = false\n"
    assert project(csv, "predict", digit).stdout.startswith("file,label,")


def test_an_option_that_may_be_repeated_takes_one_value_or_a_list(project, tmp_path, digit):
    for value in ("'odd'", "['odd']"):
        done = project(f"[tool.oddeven.watch]\non-label = {value}\n", "watch", tmp_path)
        assert (done.returncode, "expected LABEL=PIN" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("mqtt-threshold = 0.5", "2 values are required"),
        ("mqtt-threshold = [0.7, 0.3]\nonce = true", "the lower bound comes first"),
        ("out = 2026-01-01", "There is no kind of journal"),
        ("threads = 1.5", "'1.5' is not a valid integer"),
        ("once = 7", "'7' is not a valid boolean"),
    ],
)
def test_a_value_of_another_type_is_refused_as_on_the_command_line(project, tmp_path, option, says):
    done = project(f"[tool.oddeven.watch]\n{option}\n", "watch", tmp_path)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_project_without_the_table_changes_nothing(project):
    for text in ("[project]\nname = 'x'\n", "[tool.oddeven.parity]\nmax_drop_pp = 0.1\n", "not toml ["):
        assert project(text, "info").returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.oddeven.info]\nmodel = 'mlp'\n", "[tool.oddeven.info] has no option 'model'; known are json."),
        ("[tool.oddeven.infos]\njson = true\n", "[tool.oddeven] has no table 'infos'; known are train, export"),
        ("[tool.oddeven]\njson = true\n", "[tool.oddeven] has no table 'json'"),
        ("[tool.oddeven.info\n", "Cannot read pyproject.toml"),
        ("[tool]\noddeven = 1\n", "pyproject.toml: oddeven is 1; expected a table, [tool.oddeven]."),
        ("tool = 'oddeven'\n", "pyproject.toml: tool is 'oddeven'"),
        ("[tool.oddeven.info]\njson = 'perhaps'\n", "'perhaps' is not a valid boolean"),
        ("[tool.oddeven]\ninfo = 1\n", "info is 1; expected a table, [tool.oddeven.info]."),
    ],
)
def test_what_is_not_an_option_is_refused(project, text, says):
    done = project(text, "info")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ("data = 5", 5, "There is no folder or CSV file"),
        ("data = ['parts']", 2, "data of [tool.oddeven.train] is ['parts']; expected one value."),
        ("epochs = 1.5", 2, "'1.5' is not a valid integer"),
        ("epochs = inf", 2, "'inf' is not a valid integer"),
    ],
)
def test_a_value_of_another_type_is_read_as_on_a_command_line(project, setting, code, says):
    done = project(f"[tool.oddeven.train]\n{setting}\n", "train", "--dry-run")
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["plan", "merge"])
def test_a_project_cannot_switch_the_gate_off(project, mode):
    text = f"[tool.oddeven.verify]\n{mode} = true\nstrict = true\nmax-bad = 3\n"
    done = project(text, "verify", "artifacts")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"With {mode} = true no run checks a file" in done.stderr
    assert project(text.replace("merge", "plan").replace("plan = true", ""), "verify", "--plan").returncode == 0
