"""Serving and connecting by TLS, with and without client certificates."""

import shutil
import subprocess

import pytest

import cogment_lab.wire as cogment
from cogment_lab.wire.generated.common_pb2 import VersionRequest
from cogment_lab.wire.rpc import Stub


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Return the files of a key and of its self-signed certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *curve, *files, *subject], check=True, capture_output=True)
    return key, certificate


async def environment(session):
    session.start([])


@pytest.mark.parametrize("mutual", [False, True])
def test_services_are_reached_by_tls(play, pem, mutual):
    key, certificate = pem
    served = cogment.ServedEndpoint()
    served.private_key_certificate_chain_pairs = [(key.read_text(), certificate.read_text())]
    if mutual:
        served.root_certificates = certificate.read_bytes()
    trusting = cogment.Endpoint()
    trusting.set_from_files(root_certificates_file=str(certificate))
    proven = cogment.Endpoint()
    proven.set_from_files(str(key), str(certificate), str(certificate))

    async def scenario(world):
        world.context.register_environment(environment)
        await world.serve(served_endpoint=served)

        async def ask(endpoint):
            endpoint.url = f"grpc://127.0.0.1:{world.context.served_port}"
            channel = world.context._open(endpoint.url.removeprefix("grpc://"), endpoint)
            return await Stub(channel, "cogmentAPI.EnvironmentSP").Version(VersionRequest(), timeout=30)

        assert (await ask(proven)).versions
        for refused in [cogment.Endpoint(), *([trusting] if mutual else [])]:
            with pytest.raises(Exception, match="UNAVAILABLE"):
                await ask(refused)

    play(scenario)
