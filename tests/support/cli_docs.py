"""The reference of docs/cli.md, made of the command line's parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from gateway.cli import parser

_SETTINGS = "settings ("


def cli_parts() -> dict[str, str]:
    """The generated parts of docs/cli.md, by name."""
    lines: list[str] = []
    for path, one, text in _commands(parser(), "ponte", ""):
        lines += [f"### `{path}`\n", f"{_sentence(one.description or text)}\n"]
        rows = list(_rows(one))
        if rows:
            lines += ["| argument | what |", "|---|---|", *rows, ""]
        if flags := _settings(one):
            lines.append(f"Settings as flags: {flags}.\n")
    return {"commands": "\n".join(lines)}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _commands(one: argparse.ArgumentParser, path: str, text: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    below = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path, one, text
    for action in below:
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, parser_below in action.choices.items():
            yield from _commands(parser_below, f"{path} {name}", helps.get(name, ""))


def _rows(one: argparse.ArgumentParser) -> Iterator[str]:
    for group in one._action_groups:
        if (group.title or "").startswith(_SETTINGS):
            continue
        for action in group._group_actions:
            if isinstance(action, argparse._HelpAction):
                continue
            name = "|".join(action.choices) if action.choices else str(action.metavar or action.dest)
            shown = name if not action.option_strings else " ".join(
                [", ".join(action.option_strings), *([name] if action.nargs != 0 else [])]
            )  # fmt: skip
            yield f"| `{shown}` | {action.help or ''} |".replace("|`", "| `").replace("  |", " |")


def _settings(one: argparse.ArgumentParser) -> str:
    for group in one._action_groups:
        if (group.title or "").startswith(_SETTINGS):
            flags = [f"`{action.option_strings[0]}`" for action in group._group_actions]
            if len(flags) > 20:
                return f"`--config FILE` and all {len(flags) - 1} of [configuration.md](configuration.md)"
            return ", ".join(flags)
    return ""
