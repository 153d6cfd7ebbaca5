"""Completion of the command line for shells, made of the parser itself. Pure."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILES = "@files"


@dataclass(frozen=True, slots=True)
class Command:
    """One command, as far as it can be completed.

    Attributes:
        path: its words after the program's name, each after a slash; empty for the program itself.
        words: its commands, or the values that its next word may have.
        options: its flags.
        values: of those that take a value: what it may be, `_FILES`, or nothing that is known.
    """

    path: str
    words: tuple[str, ...]
    options: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def commands_of(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Command]:
    """Return *parser* and all commands below it."""
    words: list[str] = []
    options: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = list(action.choices.items())
            words += [name for name, _ in below]
        elif not action.option_strings:
            words += [str(choice) for choice in action.choices or ()]
        elif action.help is not argparse.SUPPRESS:
            options += action.option_strings
            if action.nargs != 0:
                known = tuple(str(choice) for choice in action.choices or ())
                found = known or ((_FILES,) if action.type is Path or action.metavar == "FILE" else ())
                values |= dict.fromkeys(action.option_strings, found)
    yield Command(path, tuple(words), tuple(options), values)
    for name, parser_below in below:
        yield from commands_of(parser_below, f"{path}/{name}")


def bash(parser: argparse.ArgumentParser) -> str:
    """Return the script for bash; ``source`` it."""
    commands = list(commands_of(parser))
    known = "|".join(shlex.quote(one.path) for one in commands if one.path)
    words = [
        f'{shlex.quote(one.path)}) words="{" ".join(one.words)}"; options="{" ".join(one.options)}";;'
        for one in commands
    ]
    values = {option: " ".join(given) for one in commands for option, given in one.values.items()}
    by_words: dict[str, list[str]] = {}
    for pattern, text in values.items():
        by_words.setdefault(text, []).append(pattern)
    cases = [
        f"{'|'.join(patterns)}) "
        + ('COMPREPLY=($(compgen -f -- "$cur")); return;;' if text == _FILES else _reply(text) + " return;;")
        for text, patterns in by_words.items()
    ]
    prog = parser.prog
    lines = [
        f"# Completion of {prog} for bash: source <({prog} completion bash)",
        f"_{prog}() {{",
        '    local cur="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local command="" words="" options="" index',
        "    COMPREPLY=()",
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        '        case "$command/${COMP_WORDS[index]}" in',
        f'            {known}) command="$command/${{COMP_WORDS[index]}}";;',
        "        esac",
        "    done",
        '    case "$previous" in',
        *[f"        {case}" for case in cases],
        "    esac",
        '    case "$command" in',
        *[f"        {case}" for case in words],
        "    esac",
        '    if [[ $cur == -* ]]; then words="$options"; fi',
        '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
        "}",
        f"complete -o filenames -F _{prog} {prog}",
    ]
    return "\n".join(lines) + "\n"


def _reply(words: str) -> str:
    return f'COMPREPLY=($(compgen -W "{words}" -- "$cur"));' if words else ":;"


def zsh(parser: argparse.ArgumentParser) -> str:
    """Return the script for zsh, which runs bash's."""
    prog = parser.prog
    head = f"# Completion of {prog} for zsh: source <({prog} completion zsh)\n"
    return head + "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash(parser)


def fish(parser: argparse.ArgumentParser) -> str:
    """Return the script for fish, one rule a command."""
    prog = parser.prog
    lines = [
        f"# Completion of {prog} for fish: {prog} completion fish | source",
        f"function __{prog}_at",
        "    set -l words (string match -v -- '-*' (commandline -opc)[2..-1])",
        '    string match -q -- "$argv[1]" "/"(string join / $words)',
        "end",
        f"complete -c {prog} -f",
    ]
    for one in commands_of(parser):
        at = f"-n '__{prog}_at {one.path or '/'}'"
        if one.words:
            lines.append(f"complete -c {prog} {at} -a '{' '.join(one.words)}'")
        for option in one.options:
            if not option.startswith("--"):
                continue
            given = one.values.get(option)
            value = ""
            if given is not None:
                value = " -r -F" if given == (_FILES,) else f" -x -a '{' '.join(given)}'" if given else " -x"
            lines.append(f"complete -c {prog} {at} -l {option[2:]}{value}")
    return "\n".join(lines) + "\n"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
