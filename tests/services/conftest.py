"""Certificates for services that speak TLS."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Path]]:
    """A function that returns ``private_key, trust_chain, root_cert`` of a self-signed certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")

    def make() -> dict[str, Path]:
        folder = tmp_path_factory.mktemp("tls")
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subprocess.run(["openssl", "req", "-x509", *curve, *files, *subject], check=True, capture_output=True)
        return {"private_key": key, "trust_chain": certificate, "root_cert": certificate}

    return make


@pytest.fixture(scope="session")
def tls(make_certificate: Callable[[], dict[str, Path]]) -> dict[str, Path]:
    """Files that make a service demand certificates, and let a client show one."""
    return make_certificate()
