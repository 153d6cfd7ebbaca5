"""TLS for SIP: whom we trust, who we are, and what a failed handshake means in plain words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.domain.errors import ConfigError

_NOT_YET_VALID: Final = 9  # X509_V_ERR_* of OpenSSL, which Python gives as numbers only
_EXPIRED: Final = 10
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})

NO_TLS_12: Final = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW"})
WANTS_CERTIFICATE: Final = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"})
REFUSED_OURS: Final = frozenset(
    {"TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_EXPIRED",
     "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "TLSV1_ALERT_ACCESS_DENIED"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Files in PEM form; all optional.

    Attributes:
        ca_file: authorities to trust instead of the system's, for servers and for clients.
        certificate: ours with its chain: shown by listeners, and to servers that ask for one.
        key: its key; empty when it stands in the same file.
        verify_clients: whether who connects to us must show a certificate of a trusted authority.
    """

    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    verify_clients: bool = False


class TlsContexts:
    """The two contexts of a process, each made when first needed.

    Args:
        settings: which files.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._loaded_s = self._changed_s()
        self._client: ssl.SSLContext | None = None
        self._server: ssl.SSLContext | None = None

    def client(self) -> ssl.SSLContext:
        """Return the context for connections that we open.

        Raises:
            ConfigError: a file cannot be used.
        """
        if self._client is None:
            context = self._context(ssl.Purpose.SERVER_AUTH)
            if self._settings.certificate:
                self._load_own(context)
            self._client = context
        return self._client

    def server(self) -> ssl.SSLContext:
        """Return the context for connections that we take.

        Raises:
            ConfigError: a file cannot be used, or none is set.
        """
        if self._server is None:
            if not self._settings.certificate:
                raise ConfigError("SIP over TLS needs a certificate: set sip_tls_certificate", "sip_tls_certificate")
            context = self._context(ssl.Purpose.CLIENT_AUTH)
            self._load_own(context)
            if self._settings.verify_clients:
                context.verify_mode = ssl.CERT_REQUIRED
            self._server = context
        return self._server

    def refresh(self) -> bool:
        """Load our certificate again when its files have changed; new connections then show the new one.

        Returns:
            Whether it was loaded.

        Raises:
            ConfigError: the new files cannot be used; what was loaded before stays.
        """
        changed_s = self._changed_s()
        if changed_s == self._loaded_s:
            return False
        self._loaded_s = changed_s
        # a trial first: half a renewal must not leave a certificate with another's key
        self._load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        for context in (self._client, self._server):
            if context is not None:
                self._load_own(context)
        return True

    def _changed_s(self) -> tuple[float, ...]:
        files = [Path(name) for name in (self._settings.certificate, self._settings.key) if name]
        return tuple(file.stat().st_mtime if file.is_file() else 0.0 for file in files)

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        settings = self._settings
        try:
            if purpose is ssl.Purpose.CLIENT_AUTH and not settings.verify_clients:
                context = ssl.create_default_context(purpose)
            else:
                context = ssl.create_default_context(purpose, cafile=settings.ca_file or None)
        except OSError as error:
            raise ConfigError(f"sip_ca_file cannot be used: {_why(error)}", "sip_ca_file") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # the authorities that PBXes make for themselves lack extensions that Python 3.13 would insist on
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def _load_own(self, context: ssl.SSLContext) -> None:
        settings = self._settings

        def no_password() -> str:
            raise ValueError("the key has a password; give it without one")

        try:
            context.load_cert_chain(settings.certificate, settings.key or None, no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"sip_tls_certificate and sip_tls_key cannot be used: {_why(error)}", "sip_tls_certificate"
            ) from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"


def explain(error: BaseException | None, name: str) -> str:
    """Return a sentence about a connection that failed, or an empty string when TLS is not the reason.

    Args:
        error: what was raised.
        name: the host that was asked for.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _OTHER_NAME:
            return f"The SIP server's certificate is not for {name}"
        if code == _EXPIRED:
            return "The SIP server's certificate has expired"
        if code == _NOT_YET_VALID:
            return "The SIP server's certificate is not valid yet; check the clocks"
        if code in _UNTRUSTED:
            return "The SIP server's certificate is not from a trusted authority; set sip_ca_file to its authority's"
        return f"The SIP server's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in NO_TLS_12:
            return "The SIP server does not speak TLS 1.2 or newer"
        if reason in WANTS_CERTIFICATE:
            return "The SIP server refused the TLS handshake; it may want a client certificate"
        if reason in REFUSED_OURS:
            return "The SIP server did not accept our certificate"
        if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
            return "The SIP server does not speak TLS on this port"
        return "The TLS handshake with the SIP server failed"
    return ""


def explain_broken(error: OSError) -> str:
    """Return a sentence about a TLS handshake that the peer broke off without saying why, or an empty string."""
    if isinstance(error, ConnectionResetError | ConnectionAbortedError):
        return (
            "The SIP server broke off the TLS handshake; it may not speak TLS 1.2 on this port, or want a client "
            "certificate"
        )
    return ""
