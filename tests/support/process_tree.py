"""What a program and all that it started cost: memory and processor time, by the part that each process plays."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SIZE: Final = re.compile(r"^(Pss|Pss_Anon|Pss_Shmem): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process at one instant.

    Attributes:
        role: what it is: ``gateway``, ``wasm server``, ``helper``, or ``chrome`` with the kind of its process.
        pss_bytes: its memory, pages that it shares counted by its share: less, the more others use them.
        own_bytes: the part of it that is no file's.
        cpu_s: processor time since its start.
    """

    role: str
    pss_bytes: int
    own_bytes: int
    cpu_s: float


def role_of(argv: list[str]) -> str:
    """Return the part that a process plays.

    Args:
        argv: its command line.
    """
    line = " ".join(argv)  # a zygote's children have theirs in one piece
    if kind := re.search(r"--type=([a-z-]+)", line):
        service = re.search(r"--utility-sub-type=(\w+)", line)
        return f"chrome {service[1] if service else kind[1]}"
    if "crashpad" in line:
        return "chrome crashpad"
    if "--remote-debugging-port" in line:
        return "chrome browser"
    if "node_helper" in line or Path(argv[0]).name == "node":
        return "helper"
    if "gateway.worker" in argv:
        return "media worker"
    if "wasm_server" in argv:
        return "wasm server"
    return "gateway" if "gateway.cli" in argv else Path(argv[0]).name


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()  # the name in brackets may hold anything


def tree(roots: Iterable[int]) -> list[int]:
    """Return *roots* and all that they started and that still runs."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(path.name)):
            children[int(fields[1])].append(int(path.name))
    found, open_ = [], list(roots)
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_ += children[pid]
    return found


def costs(roots: Iterable[int]) -> dict[int, Cost]:
    """Return what each process of the trees of *roots* costs, by its id; of one that ends meanwhile nothing."""
    found: dict[int, Cost] = {}
    for pid in tree(roots):
        try:
            argv = [part for part in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if part]
            sizes = dict(_SIZE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        fields = _stat(pid)
        if argv and sizes and fields:
            cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
            pss, anonymous, shared = (1024 * int(sizes.get(name, 0)) for name in ("Pss", "Pss_Anon", "Pss_Shmem"))
            found[pid] = Cost(role_of(argv), pss, anonymous + shared, cpu_s)
    return found


def by_role(found: Iterable[Cost], *, own: bool = False) -> dict[str, int]:
    """Return the memory in bytes of each role; with *own* only what is no file's."""
    sums: defaultdict[str, int] = defaultdict(int)
    for one in found:
        sums[one.role] += one.own_bytes if own else one.pss_bytes
    return dict(sorted(sums.items()))


def cpu_by_role(before: dict[int, Cost], after: dict[int, Cost]) -> dict[str, float]:
    """Return the processor time in seconds that each role took between two looks."""
    sums: defaultdict[str, float] = defaultdict(float)
    for pid, one in after.items():
        sums[one.role] += one.cpu_s - (before[pid].cpu_s if pid in before else 0.0)
    return dict(sorted(sums.items()))
