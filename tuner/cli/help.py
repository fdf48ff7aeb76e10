"""How a command's help is laid out: plain text, options under headings, each with the name of what it takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from typer import BadParameter
from typer.core import TyperArgument, TyperCommand

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter
    from typer._click.formatting import HelpFormatter

_HEADING = "Options"


class PlainCommand(TyperCommand):
    """A command whose help fits a terminal of 80 columns and a pipe."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read the command line; what the library that checks values puts before its complaints is left out."""
        try:
            return super().parse_args(ctx, args)
        except BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write arguments, then options by their heading."""
        write_options(self.get_params(ctx), ctx, formatter)


def write_options(params: Iterable[Parameter], ctx: Context, formatter: HelpFormatter) -> None:
    """Write the help of `params` under their headings (`rich_help_panel`), those without one last."""
    sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None:
            heading = getattr(param, "rich_help_panel", None) or _HEADING
            sections["Arguments" if isinstance(param, TyperArgument) else heading].append((_left(param), record[1]))
    for heading in sorted(sections, key=lambda name: (name == _HEADING, name != "Arguments")):
        with formatter.section(heading):
            formatter.write_dl(sections[heading], col_max=30)


def _left(param: Parameter) -> str:
    if isinstance(param, TyperArgument):
        return param.display_name_raw
    names = ", ".join(sorted(param.opts, key=len))
    if getattr(param, "is_flag", False):
        return names
    return f"{names} {getattr(param, 'metavar', None) or 'VALUE'}"
