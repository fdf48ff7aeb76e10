"""Engine flags as text on a command line: what the editor of pod templates needs to know, and no more."""

from __future__ import annotations

from dataclasses import dataclass

#: A pattern of the flags whose values are secrets, also where they are abbreviated ("--api-k"). A list of names and not
#: of words in them: "--max-num-batched-tokens" has "token" in it.
SECRET_FLAG = r"--(?:api[-_]k|hf[-_]t|ssl[-_]keyfile[-_]p)[a-z]*"


@dataclass(frozen=True)
class FlagSpec:
    """How one flag may be spelled. Names are without leading dashes, with hyphens ("max-num-seqs").

    `boolean` flags take no value; `negation` is the name that turns one off ("no-enable-prefix-caching").
    """

    name: str
    aliases: tuple[str, ...] = ()
    short: tuple[str, ...] = ()  # with one dash: "tp", "sc"
    boolean: bool = False
    negation: str | None = None
    several: bool = False  # takes any number of values: every item up to the next flag


@dataclass(frozen=True)
class FlagEdit:
    """One change: `value` None removes the flag (engine default), True or False set a boolean, text sets a value."""

    flag: FlagSpec
    value: str | bool | None


@dataclass(frozen=True)
class FlagSyntax:
    """An engine's whole command-line grammar. Unique prefixes are accepted, and _ and - are equal in names."""

    flags: tuple[FlagSpec, ...]


@dataclass(frozen=True)
class FlagUse:
    """One flag as found on a command line. `flag` is None where the syntax does not know it."""

    text: str  # as written, e.g. "--max-num-seqs=64"
    name: str  # as written, without dashes, normalised to hyphens
    flag: FlagSpec | None
    value: str | bool | None
    index: int  # of its first item in the combined list
    span: int = 1  # number of list items it covers

    @property
    def known_as(self) -> str:
        """The flag's own name where it is known, else as written."""
        return self.flag.name if self.flag is not None else self.name
