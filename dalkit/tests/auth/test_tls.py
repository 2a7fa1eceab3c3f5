"""The tenant's keys come over TLS, from who has its certificate, and through the proxy if any."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import SHUT_RDWR, create_connection, create_server, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dalkit import outgoing
from dalkit.auth import Auth0
from dalkit.dev.issuer import Issuer
from dalkit.settings import Settings

from .conftest import guarded_app, serving, status
from .forge import new_key
from .key_server import KeyServer

TENANT = "team.auth0.example"


def certificate(folder: Path, host: str) -> Path:
    """Return the file of a key and a certificate that it has signed itself."""
    key, now = new_key(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    written = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path = folder / f"{host}.pem"
    path.write_bytes(written + made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def proxy(server: KeyServer) -> Iterator[str]:
    """The URL of a proxy that leads to the key server, whatever host is asked for."""
    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_forward, args=(listener, server.port), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _forward(listener: socket, port: int) -> None:
    client, _ = listener.accept()
    with client, create_connection(("127.0.0.1", port)) as target:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=_pump, args=(target, client), daemon=True)
        back.start()
        _pump(client, target)
        back.join(30)


def _pump(source: socket, target: socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(SHUT_RDWR)  # a socket that another thread reads is not ended by close()


@pytest.mark.parametrize(
    ("host", "is_trusted", "answer"),
    [(TENANT, True, 200), (TENANT, False, 503), ("other.auth0.example", True, 503)],
)
async def test_keys_are_believed_only_of_the_tenant(
    host: str,
    is_trusted: bool,
    answer: int,
    server: KeyServer,
    signer: Issuer,
    proxy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its certificate must be of its name, and of an authority that this machine trusts."""
    own = certificate(tmp_path, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    trusted = own if is_trusted else certificate(tmp_path, "authority.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setattr(outgoing, "tls", outgoing.tls.__wrapped__)
    monkeypatch.setattr("dalkit.auth.auth0.tls", outgoing.tls)
    settings = Settings(
        _env_file=None,
        environment="local",
        auth0_domain=TENANT,
        auth0_audience=signer.audience,
        auth0_dev_issuer=None,
    )
    signer.url = f"https://{TENANT}/"
    async with serving(guarded_app(Auth0.from_settings(settings))) as api:
        assert await status(api, signer.token()) == answer
