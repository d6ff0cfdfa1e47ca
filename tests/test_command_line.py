"""The command line as a whole: what `--help` shows, and the page that lists every option."""

from __future__ import annotations

import click
import pytest
from conftest import benchmark

from oddeven.runtime.cli.main import COMMANDS, cli

SHOWN = 8  # options that a person reads in one look


def command_of(name):
    return cli.get_command(click.Context(cli), name)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_eight_options_at_most_and_each_option_says_what_it_does(name):
    options = [option for option in command_of(name).params if isinstance(option, click.Option)]
    assert options
    assert sum(not option.hidden for option in options) <= SHOWN
    assert all(option.help for option in options if option.hidden)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_range_of_numbers_holds_one_that_cannot_be_compared_or_waited_for(name):
    kinds = [kind for option in command_of(name).params for kind in getattr(option.type, "types", [option.type])]
    for kind in kinds:
        for number in ("nan", "inf", "1e300") if isinstance(kind, click.FloatRange) else ():
            with pytest.raises(click.BadParameter):
                kind.convert(number, None, None)


def test_the_page_lists_the_options_as_they_are():
    script = benchmark("command_line")
    assert script.PAGE.read_text() == script.page(), "write it anew with: python benchmarks/command_line.py"
