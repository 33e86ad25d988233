"""The entry point: builds the typer app from `commands/` and turns gandiag's errors into one message and exit 2."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer

import gandiag_cli.commands
from gandiag.errors import GandiagError

#: Settings that typer's `command()` takes, for commands that pass words on to another program.
_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def build() -> typer.Typer:
    """The app with one sub-command for each module of `gandiag_cli.commands`."""
    app = typer.Typer(
        name="gandiag",
        help="Mode-collapse diagnostics, and their cure, for GANs in PyTorch.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for info in pkgutil.iter_modules(gandiag_cli.commands.__path__):
        module = importlib.import_module(f"gandiag_cli.commands.{info.name}")
        settings = _PASS_THROUGH if getattr(module, "PASS_THROUGH", False) else None
        app.command(name=info.name.replace("_", "-"), context_settings=settings)(module.command)
    app.callback()(_root)
    return app


def _version(value: bool) -> None:
    if value:
        from gandiag import __version__

        print(__version__)
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Mode-collapse diagnostics, and their cure, for GANs in PyTorch."""


def main() -> None:
    """Run the command line. Exit 0 done, 1 a finding was asked to fail on, 2 wrong use or unreadable input."""
    try:
        build()()
    except GandiagError as error:
        print(f"gandiag: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("gandiag: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # `gandiag analyze ... | head` closes the pipe: not an error of the user's.
        sys.stderr.close()
        sys.exit(0)
