"""TLS between nodes."""

from __future__ import annotations

import os
import ssl
from pathlib import Path


def certificate_problems(cert: Path | None, key: Path | None, ca: Path | None) -> list[str]:
    """What is wrong with the files that the settings ``link_tls_...`` name; empty: nothing. The files are read."""
    named = {"link_tls_cert": cert, "link_tls_key": key, "link_tls_ca": ca}
    problems = [
        f"{name}: expected a file (PEM) that this user can read, got {path.absolute()}"
        for name, path in named.items()
        if path is not None and not (path.is_file() and os.access(path, os.R_OK))
    ]
    if problems:
        return problems
    certificates = Certificates(cert, key, ca)
    try:
        certificates.of_listener()
    except OSError as error:  # what ssl raises is one too
        problems.append(f"link_tls_cert: expected a certificate (PEM) with its key, got {cert}: {error}")
    try:
        certificates.of_dialler()
    except OSError as error:
        problems.append(f"link_tls_ca: expected certificates (PEM), got {ca}: {error}")
    return problems


class Certificates:
    """Files for TLS between nodes: the settings ``link_tls_cert``, ``link_tls_key`` and ``link_tls_ca``."""

    __slots__ = ("_ca", "_cert", "_dialler", "_key")

    def __init__(self, cert: Path | None = None, key: Path | None = None, ca: Path | None = None) -> None:
        """``key``: None if the certificate's file has it; ``ca``: who signed the others' certificates, None takes the system's list."""
        self._cert = cert
        self._key = key
        self._ca = ca
        self._dialler: ssl.SSLContext | None = None

    def of_listener(self) -> ssl.SSLContext | None:
        """For the listener; None without a certificate.

        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: a file is no certificate or no key, or they do not belong together.
        """
        if self._cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        return context

    def of_dialler(self) -> ssl.SSLContext:
        """For connections to other nodes, whose certificates are checked.

        Raises:
            OSError, ssl.SSLError: see :meth:`of_listener`.
        """
        if self._dialler is None:
            self._dialler = ssl.create_default_context(cafile=self._ca)
        return self._dialler
