"""Debian's kamailio as the PBX: registrar and proxy with digest, made as an integrator would set up a trunk to Ponte.

Ponte registers as a trunk user. A call from the trunk goes to the extension it names, else to the reception phone. A
number with country code that an extension dials goes to the trunk's registered contact; Ponte challenges it, and the
PBX, not the phone, knows the answer.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import Process, running

REALM: Final = "pbx.test"
_SAFE: Final = re.compile(r"[A-Za-z0-9_.-]+")

# A Contact that is a GRUU, which linphone takes where it is given, would have to be looked up in every request: it is
# given only where a test asks for it.
# $sht(users=>name) holds the plain passwords. The dialog module counts the CSeq up where the PBX answers a challenge
# itself, and corrects every later request of the dialog accordingly.
_CONFIG: Final = """
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
{tls_listen}
mpath="{modules}"

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "htable.so"
loadmodule "dialog.so"
loadmodule "uac.so"
loadmodule "xlog.so"
{tls_module}

modparam("auth", "algorithm", "{algorithm}")
modparam("auth", "nonce_expire", {nonce_life_s})
modparam("htable", "htable", "users=>size=4;")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "default_expires", 120)
modparam("registrar", "max_expires", 600)
modparam("registrar", "min_expires", 1)
modparam("registrar", "gruu_enabled", {gruu:d})
modparam("registrar", "max_contacts", 1)
modparam("rr", "append_fromtag", 1)
modparam("dialog", "track_cseq_updates", 1)
modparam("dialog", "dlg_match_mode", 1)
modparam("uac", "restore_mode", "none")
modparam("uac", "auth_username_avp", "$avp(trunk_user)")
modparam("uac", "auth_password_avp", "$avp(trunk_secret)")
modparam("uac", "auth_realm_avp", "$avp(trunk_realm)")

event_route[htable:mod-init] {{
{users}
}}

request_route {{
    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
            exit;
        }}
        if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
            exit;
        }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    t_check_trans();
    if (is_method("OPTIONS")) {{
        sl_send_reply("200", "OK");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if ($sht(users=>$au) == $null || !pv_www_authenticate("{realm}", "$sht(users=>$au)", "0") || $au != $tU) {{
            www_challenge("{realm}", "1");
            exit;
        }}
        save("location");
        exit;
    }}
    if (is_method("SUBSCRIBE") && $rU == "{trunk}") {{
        if (!lookup("location", "sip:{trunk}@{host}")) {{
            sl_send_reply("480", "Trunk Not Registered");
            exit;
        }}
        record_route();
        t_on_failure("TRUNK_CHALLENGE");
        t_relay();
        exit;
    }}
    if (!is_method("INVITE")) {{
        sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    if ($sht(users=>$au) == $null || !pv_proxy_authenticate("{realm}", "$sht(users=>$au)", "0")) {{
        proxy_challenge("{realm}", "1");
        exit;
    }}
    $var(caller) = $au;
    consume_credentials();
    record_route();
    dlg_manage();
    if ($var(caller) == "{trunk}") {{
        route(FROM_TRUNK);
    }} else {{
        route(FROM_EXTENSION);
    }}
}}

route[FROM_TRUNK] {{
    if (!lookup("location", "sip:$rU@{host}")) {{
        if (!lookup("location", "sip:{reception}@{host}")) {{
            sl_send_reply("480", "Nobody There");
            exit;
        }}
    }}
    t_relay();
    exit;
}}

route[FROM_EXTENSION] {{
    if ($rU =~ "^[+]?[0-9]{{8,15}}$") {{
        $var(number) = $rU;
        if (!lookup("location", "sip:{trunk}@{host}")) {{
            sl_send_reply("503", "Trunk Not Registered");
            exit;
        }}
        $rU = $var(number);
        t_on_failure("TRUNK_CHALLENGE");
        t_relay();
        exit;
    }}
    if (!lookup("location")) {{
        sl_send_reply("404", "No Such Extension");
        exit;
    }}
    t_relay();
    exit;
}}

failure_route[TRUNK_CHALLENGE] {{
    if (t_is_canceled()) exit;
    if (t_check_status("401|407")) {{
        $avp(trunk_user) = "{answer_user}";
        $avp(trunk_secret) = "{answer_secret}";
        if (uac_auth()) {{
            t_relay();
            exit;
        }}
    }}
}}
"""


# tcp_accept_aliases: a request to a Contact goes by the connection that the registration came by (RFC 5923).
_TLS_LISTEN: Final = """
enable_tls=yes
tcp_accept_aliases={aliases}
listen=tls:{host}:{port}
"""
_TLS_MODULE: Final = """
loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
modparam("tls", "ca_list", "{ca}")
modparam("tls", "verify_certificate", 1)
modparam("tls", "require_certificate", 1)
"""


@dataclass(frozen=True, slots=True)
class KamailioTls:
    """TLS of the PBX, which checks whoever it talks to.

    Attributes:
        certificate: its certificate.
        key: and key.
        ca: the authority that it trusts.
        aliases: whether it calls a registered contact by the connection that the registration came by.
    """

    certificate: Path
    key: Path
    ca: Path
    aliases: bool = True


def _checked(text: str) -> str:
    # Written into the configuration between quotes: nothing in it may end them.
    if not _SAFE.fullmatch(text):
        raise ValueError("users and secrets of the PBX consist of letters, digits, '_', '.' and '-'")
    return text


@dataclass(frozen=True, slots=True)
class Trunk:
    """How Ponte and the PBX know each other.

    Attributes:
        user: who Ponte registers as; its password is among the users of the PBX.
        answer_user: user that the PBX answers Ponte's challenge with (``sipListenUser``).
        answer_secret: its secret (``sipListenSecret``).
    """

    user: str
    answer_user: str
    answer_secret: str


@dataclass(frozen=True, slots=True)
class Kamailio:
    """A running kamailio.

    Attributes:
        host: its address.
        port: its port, UDP and TCP.
        tls_port: its port for TLS, 0 where it has none.
        process: the program.
    """

    host: str
    port: int
    process: Process
    tls_port: int = 0

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


def configuration(
    *, port: int, users: Mapping[str, str], trunk: Trunk, reception: str, modules: Path,
    tls: KamailioTls | None = None, tls_port: int = 0, algorithm: str = "MD5", nonce_life_s: int = 300,
    gruu: bool = False,
) -> str:  # fmt: skip
    """The text of the configuration file.

    Args:
        port: port on loopback.
        users: password of each user that may register and call, the trunk among them.
        trunk: how Ponte and the PBX know each other.
        reception: extension that gets the trunk's calls to no extension in particular.
        modules: folder of kamailio's modules.
        tls: its certificate, if it is to speak TLS.
        tls_port: the port for that.
        algorithm: of its challenges, ``MD5`` or ``SHA-256``.
        nonce_life_s: how long a nonce of it is good.
        gruu: whether it gives GRUUs (RFC 5627).

    Raises:
        ValueError: a name or secret has characters that do not belong there.
    """
    lines = (f'    $sht(users=>{_checked(user)}) = "{_checked(secret)}";' for user, secret in users.items())
    tls_listen = _TLS_LISTEN.format(host=LOOPBACK, port=tls_port, aliases="yes" if tls.aliases else "no") if tls else ""
    tls_module = _TLS_MODULE.format(certificate=tls.certificate, key=tls.key, ca=tls.ca) if tls else ""
    return _CONFIG.format(
        tls_listen=tls_listen, tls_module=tls_module,
        algorithm=_checked(algorithm), nonce_life_s=nonce_life_s, gruu=gruu,
        host=LOOPBACK, port=port, modules=modules, realm=REALM, users="\n".join(lines),
        trunk=_checked(trunk.user), reception=_checked(reception),
        answer_user=_checked(trunk.answer_user), answer_secret=_checked(trunk.answer_secret),
    )  # fmt: skip


def _binary() -> str:
    found = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError("kamailio is not installed (Debian's package kamailio)")
    return found


def _modules() -> Path:
    for folder in sorted(Path("/usr/lib").glob("*/kamailio/modules")):
        return folder
    raise FileNotFoundError("kamailio's modules were not found under /usr/lib")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


@contextlib.asynccontextmanager
async def kamailio(
    folder: Path,
    *,
    users: Mapping[str, str],
    trunk: Trunk,
    reception: str,
    port: int = 0,
    tls: KamailioTls | None = None,
    algorithm: str = "MD5",
    nonce_life_s: int = 300,
    gruu: bool = False,
    start_timeout_s: float = 15,
) -> AsyncIterator[Kamailio]:
    """Run a kamailio on loopback for the length of the block.

    Args:
        folder: for its configuration, working files and log.
        users: see :func:`configuration`.
        trunk: see :func:`configuration`.
        reception: see :func:`configuration`.
        port: 0 takes a free one.
        tls: its certificate, if it is to speak TLS (Debian's package kamailio-tls-modules).
        algorithm: see :func:`configuration`.
        nonce_life_s: see :func:`configuration`.
        gruu: see :func:`configuration`.
        start_timeout_s: how long it may take until it listens.

    Raises:
        ProcessFailed: it ended or did not listen in time.
    """
    port = port or free_ports()
    config = folder / "kamailio.cfg"
    tls_port = free_ports() if tls else 0
    _write(
        config,
        configuration(
            port=port, users=users, trunk=trunk, reception=reception, modules=_modules(), tls=tls, tls_port=tls_port,
            algorithm=algorithm, nonce_life_s=nonce_life_s, gruu=gruu,
        ),
    )  # fmt: skip
    argv = [_binary(), "-f", str(config), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(folder), "-w", str(folder)]
    async with running("kamailio", argv, log=folder / "kamailio.log") as process:
        await process.wait_for(lambda: _answers(LOOPBACK, port), what="open TCP port", timeout_s=start_timeout_s)
        yield Kamailio(LOOPBACK, port, process, tls_port)
