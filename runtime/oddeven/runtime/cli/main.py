"""The `oddeven` command: a table of subcommands, each imported only when it is called.

Parse, call, print: what a command does lives elsewhere. Results go to stdout, notes and progress to stderr.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import click

from oddeven.runtime import process
from oddeven.runtime.errors import MissingPackageError, OddEvenError, OutputError, UsageError
from oddeven.runtime.project import PROJECT, read_tables

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("oddeven.train.train_command", "Train Keras models by a recipe."),
    "export": ("oddeven.export.export_command", "Convert Keras models to quantized TFLite and ONNX files."),
    "verify": ("oddeven.runtime.cli.verify", "Check that exported files still predict what the Keras model does."),
    "predict": ("oddeven.runtime.cli.predict", "Classify images."),
    "score": ("oddeven.runtime.cli.score", "Classify an archive of images into Parquet files."),
    "pipeline": ("oddeven.runtime.cli.pipeline", "Train, export, verify and predict in one go."),
    "selftest": ("oddeven.runtime.cli.selftest", "Check that models predict here what they did when they were made."),
    "watch": ("oddeven.runtime.cli.watch", "Classify each new image in a folder."),
    "camera": ("oddeven.runtime.cli.camera", "Classify what a camera sees."),
    "drift": ("oddeven.runtime.cli.drift", "Show whether the images still look as in validation."),
    "serve": ("oddeven.runtime.cli.serve", "Serve models on a web page and to other programs."),
    "bundle": ("oddeven.export.bundle.bundle_command", "Pack a model and its installer for a Raspberry Pi."),
    "web": ("oddeven.export.web.web_command", "Write a page that runs models in the browser."),
    "fleet": ("oddeven.runtime.cli.fleet", "Show the devices that send to a broker."),
    "update": ("oddeven.runtime.cli.update", "Update a device to a new bundle, and go back if it is not well."),
    "bench": ("oddeven.runtime.cli.bench", "Measure a model on this machine."),
    "attach-spec": ("oddeven.runtime.cli.attach_spec", "Tell a model file from elsewhere what its labels are."),
    "info": ("oddeven.runtime.cli.info", "Show what a model file holds, or what is installed here."),
}
PARITY = "parity"  # a table that `oddeven.runtime.parity.policy` reads
MORE = (
    "docs/command-line.md lists more options. Each option is a key of [tool.oddeven.{}] in ./pyproject.toml too, which "
    "sets its default."
)
INTERRUPTED = 130
READER_LEFT = 141  # as a shell has it for a command that SIGPIPE ended, such as one before `| head`
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors that only writing can raise


class LazyGroup(click.Group):
    """A group that knows its subcommands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a model's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the subcommand `name`."""
        if name not in COMMANDS:
            return None
        command = cast(click.Command, importlib.import_module(COMMANDS[name][0]).command)
        if any(isinstance(option, click.Option) and option.hidden for option in command.params):
            command.epilog = MORE.format(name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; its defaults are those of the project in the working folder."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command:
            ctx.default_map = {name: project_defaults(name, command)}
            context = type(ctx)(command, ctx, name, **command.context_settings)
            given, _, _ = command.make_parser(context).parse_args(list(rest))
            check_filled(context, {**ctx.default_map[name], **given})
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oddeven")
def cli() -> None:
    """Two-class image models: train, quantize, verify, and run on a device.

    Exit codes: 0 success; 1 the accuracy gate did not pass; 2 wrong usage; 3 a package is missing; 4 a model or
    artifact is broken; 5 images, data or camera are unusable; 6 a result could not be written; 7 an update was refused
    or undone; 130 stopped by Ctrl-C.

    The table [tool.oddeven.COMMAND] in ./pyproject.toml sets the default of any option.
    """


def project_defaults(name: str, command: click.Command) -> dict[str, Any]:
    """What `[tool.oddeven.<name>]` of ./pyproject.toml says of the options of `command`, by click's parameter names.

    A key is an option's long name without the leading dashes, such as `max-bad` or `max_bad`.

    Raises:
        UsageError: the file is not TOML, or it names a table or an option that does not exist.
    """
    options = {
        flag.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option)
        for flag in option.opts
        if flag.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for key, value in _project_tables().get(name, {}).items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise UsageError(f"{PROJECT}: [tool.oddeven.{name}] has no option {key!r}; known are {', '.join(options)}.")
        many = option.multiple or option.nargs > 1
        if isinstance(value, list) and not many:
            raise UsageError(f"{PROJECT}: {key} of [tool.oddeven.{name}] is {value}; expected one value.")
        texts = [str(one) for one in (value if isinstance(value, list) else [value])]  # as on a command line
        if option.is_flag and not option.is_bool_flag:  # `--json` and `--csv` are two values of one parameter
            if value:
                defaults[str(option.name)] = option.flag_value
        else:
            defaults[str(option.name)] = texts if many else texts[0]
    return defaults


def check_filled(context: click.Context, given: Mapping[str, Any]) -> None:
    """Refuse an empty value, as an unset variable of a shell leaves it: as a path it would be the working folder.

    Args:
        context: of a command.
        given: the texts for each of its parameters, by click's names.

    Raises:
        click.BadParameter: one is empty, of an option whose default is not, or of an argument that is a path.
    """
    for parameter in context.command.params:
        value = given.get(str(parameter.name))
        option = isinstance(parameter, click.Option) and parameter.default != ""
        empty = "" in value if isinstance(value, list | tuple) else value == ""
        if empty and (option or isinstance(parameter.type, click.Path)):
            raise click.BadParameter("it is empty.", context, parameter)


def _project_tables() -> dict[str, Any]:
    """The tables below `[tool.oddeven]` of ./pyproject.toml, by name."""
    if not PROJECT.is_file() or b"oddeven" not in PROJECT.read_bytes():
        return {}
    try:
        tables = read_tables(PROJECT)
    except ValueError as error:
        raise UsageError(f"Cannot read {PROJECT}: {error}.") from error
    known = (*COMMANDS, PARITY)
    for name, table in tables.items():
        if name not in known:
            raise UsageError(f"{PROJECT}: [tool.oddeven] has no table {name!r}; known are {', '.join(known)}.")
        if not isinstance(table, dict):
            raise UsageError(f"{PROJECT}: {name} is {table!r}; expected a table, [tool.oddeven.{name}].")
    return tables


def main() -> None:
    """Run the command line as this process, and end it."""
    process.take()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal's encoding lacks
    code = run(sys.argv[1:])
    gc.freeze()  # the process ends; another garbage collection would take a tenth of `oddeven predict`
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code. Every error that we raise on purpose becomes one line on stderr."""
    out = sys.stdout
    try:
        code = cli.main(list(arguments), standalone_mode=False)
        out.flush()
    except SystemExit:
        if sys.stdout is out:
            raise
        return READER_LEFT  # click has put in its place what cannot fail any more
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report_interrupt()
    except (MissingPackageError, ImportError) as error:
        if process.INTERRUPTED.is_set():  # the initialization of a package in C calls any exception an ImportError
            return _report_interrupt()
        if isinstance(error, ImportError):
            raise
        return _report(error)
    except OddEvenError as error:
        return _report(error)
    except OSError as error:
        return _report_os_error(error)
    return code if isinstance(code, int) else 0


def _report(error: OddEvenError) -> int:
    click.echo(f"oddeven: {error}", err=True)
    return error.exit_code


def _report_interrupt() -> int:
    click.echo("oddeven: stopped.", err=True)
    return INTERRUPTED


def _report_os_error(error: OSError) -> int:
    """Report, in one line, an error of the system that no command handled, and give its exit code.

    That is a path that is too long or not permitted, a full disk under stdout, or a reader of stdout that has left;
    anything else is raised again.
    """
    if error.filename is not None:
        click.echo(f"oddeven: {error.filename} cannot be used: {error.strerror}.", err=True)
        return UsageError.exit_code
    if error.errno not in (*FULL, errno.EPIPE):
        raise error
    with suppress(OSError):
        sys.stdout.close()  # Python would try once more, and change the exit code
    if error.errno == errno.EPIPE:
        return READER_LEFT
    click.echo(f"oddeven: The result cannot be written: {error.strerror}.", err=True)
    return OutputError.exit_code
