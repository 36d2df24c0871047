"""Google, GitHub and Microsoft in small: one HTTP server that answers as they do, and can be told to lie."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

__all__ = ["CLIENT", "SECRET", "Provider", "provider", "settings_for"]

CLIENT, SECRET = "the-client", "the-client's secret"
TENANT = "11111111-2222-3333-4444-555555555555"


@dataclass
class Provider:
    """What the server knows: whose account the browser is signed in with, and how its next tokens lie."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    mails: list[dict[str, Any]] = field(default_factory=list)
    person: dict[str, Any] = field(default_factory=lambda: {"id": 583231, "login": "alice", "name": "Alice"})
    algorithm: str = "RS256"
    kid: str = "one"
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))
    stranger: Any = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def consent(self, address: str) -> dict[str, str]:
        """The person agrees at the address that the browser was sent to; what the browser comes back with."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        code = f"code-{next(self.numbers)}"
        self.codes[code] = query
        return {"state": query["state"], "code": code}

    def id_token(self, query: dict[str, str]) -> str:
        moment = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "1234567890", "iat": moment, "exp": moment + 300,
            "nonce": query.get("nonce"), "email": "alice@example.com", "email_verified": True, "name": "Alice",
            **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            return jwt.encode(claims, None, algorithm="none", headers={"kid": self.kid})
        if self.algorithm == "HS256":
            # The confusion of old: the public key as if it were a shared secret.
            body = [{"alg": "HS256", "kid": self.kid, "typ": "JWT"}, claims]
            signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in body)
            return f"{signed.decode()}.{base64.urlsafe_b64encode(hashlib.sha256(signed).digest()).decode()}"
        return jwt.encode(claims, self.stranger or self.key, algorithm="RS256", headers={"kid": self.kid})

    def token(self, form: dict[str, str]) -> tuple[int, Any]:
        query = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            query is None
            or form.get("client_secret") != SECRET
            or form.get("redirect_uri") != query["redirect_uri"]
            or challenge.rstrip(b"=").decode() != query["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "an access token", "token_type": "Bearer", "id_token": self.id_token(query)}

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/token":
            return self.token(form)
        if path == "/keys":
            return 200, {"keys": [{**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "one"}]}
        if authorization != "Bearer an access token":
            return 401, {"message": "Bad credentials"}
        return 200, self.person if path == "/user" else self.mails


@contextmanager
def provider() -> Iterator[Provider]:
    """A running one."""
    one = Provider()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {name: values[0] for name, values in parse_qs(raw).items()}
            status, body = one.answer(urlsplit(self.path).path, form, self.headers.get("Authorization", ""))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def settings_for(one: Provider) -> dict[str, dict[str, str]]:
    """``OAUTH_PROVIDERS`` with all three at this server."""
    shared = {
        "client_id": CLIENT, "client_secret": SECRET, "authorize_url": f"{one.url}/authorize",
        "token_url": f"{one.url}/token", "jwks_url": f"{one.url}/keys", "issuer": one.url, "api_url": one.url,
    }  # fmt: skip
    return {name: dict(shared) for name in ("google", "github", "microsoft")}
