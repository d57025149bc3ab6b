"""Serving and connecting by TLS, with and without client certificates."""

import pytest

import cogment_lab.wire as cogment
from cogment_lab.wire.generated.common_pb2 import VersionRequest
from cogment_lab.wire.rpc import Stub


async def environment(session):
    session.start([])


@pytest.mark.parametrize("mutual", [False, True])
def test_services_are_reached_by_tls(play, tls, mutual):
    key, certificate = tls["private_key"], tls["root_cert"]
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
