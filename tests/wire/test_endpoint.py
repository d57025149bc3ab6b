"""Addresses of services, in every form of the protocol's section 4."""

import pytest

from cogment_lab.errors import EndpointError
from cogment_lab.wire.endpoint import (
    CLIENT,
    Credentials,
    Discovery,
    Endpoint,
    ServedEndpoint,
    ServiceType,
    check_context_name,
    parse,
)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://localhost:9000", "localhost:9000"),
        ("  GRPC://[::1]:9000\n", "[::1]:9000"),
        ("cogment://client", CLIENT),
        ("Client", CLIENT),
    ],
)
def test_a_direct_address_is_its_target(url: str, target: str) -> None:
    assert parse(url) == target


@pytest.mark.parametrize("url", ["", "cogment://discover", "Cogment://Discover"])
def test_an_empty_address_asks_the_directory_by_context(url: str) -> None:
    question = parse(url)
    assert isinstance(question, Discovery) and question.is_context
    completed = question.complete(ServiceType.ACTOR, actor_class="player", implementation="")
    assert completed.type is ServiceType.ACTOR
    assert completed.properties == {"__actor_class": "player"}


def test_an_explicit_question_is_not_completed() -> None:
    question = parse("cogment://discover/environment?__implementation=lunar&gpu=yes")
    assert isinstance(question, Discovery)
    assert question.complete(ServiceType.ACTOR, actor_class="player") is question
    assert question.type is ServiceType.ENVIRONMENT
    assert question.properties == {"__implementation": "lunar", "gpu": "yes"}


def test_a_service_is_asked_for_by_id_and_a_token_is_no_property() -> None:
    assert parse("cogment://discover/service?__id=12") == Discovery(service_id=12)
    assert parse(f"cogment://discover/service?__id={2**64 - 1}") == Discovery(service_id=2**64 - 1)
    with_token = parse("cogment://discover/datalog?__authentication-token=s3cret")
    assert with_token == Discovery(type=ServiceType.DATALOG, token="s3cret")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("localhost:9000", "no scheme"),
        ("grpc://localhost", "host and a port"),
        ("grpc://:9000", "host and a port"),
        ("grpc://local host:9000", "white space"),
        ("http://localhost:9000", "unknown scheme 'http'"),
        ("cogment://elsewhere", "client or discover"),
        ("cogment://client/me", "no path"),
        ("cogment://discover/nobody", "'nobody' is none of"),
        ("cogment://discover/actor?novalue", "not name=value"),
        ("cogment://discover/service?__id=x", "__id=NUMBER"),
        ("cogment://discover/service?__id=0", "from 1 to 18446744073709551615"),
        (f"cogment://discover/service?__id={2**64}", "from 1 to 18446744073709551615"),
        (f"cogment://discover/service?__id={'9' * 5000}", "from 1 to 18446744073709551615"),
    ],
)
def test_anything_else_says_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(EndpointError, match=complaint):
        parse(url)


def test_a_name_that_would_break_an_address_is_refused() -> None:
    assert check_context_name("ok.name-1") == "ok.name-1"
    with pytest.raises(EndpointError, match="cannot be looked up"):
        check_context_name("a&b=c")


def test_a_tls_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(EndpointError, match=r"nowhere\.pem"):
        Credentials.from_files("nowhere.pem")
    with pytest.raises(EndpointError, match="private key"):
        Credentials().for_server()


def test_tls_material_is_text_or_bytes_as_in_the_official_sdk() -> None:
    endpoint, served = Endpoint(), ServedEndpoint()
    assert served.credentials is None
    endpoint.private_key, endpoint.root_certificates, endpoint.certificate_chain = "key", b"roots", "chain"
    served.private_key_certificate_chain_pairs, served.root_certificates = [("key", b"chain")], "roots"
    assert endpoint.credentials == served.credentials == Credentials(b"key", b"chain", b"roots")
    served.private_key_certificate_chain_pairs = [("key", "chain")] * 2
    with pytest.raises(EndpointError, match="not several"):
        _ = served.credentials
