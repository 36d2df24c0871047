"""An OpenID Connect provider to be: a real HTTP server whose answers a test may spoil."""

import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

__all__ = ["OidcIdp"]


class OidcIdp:
    """Serves discovery, keys, tokens and userinfo. ``claims`` and ``header`` are laid over those of a good ID token."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})]
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.signer: Any = None
        self.nonce = ""
        self.client_id = "weave"
        self.requests: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append((self.path, dict(self.headers), {}))
                body = provider.answer(self.path)
                self._send(404 if body is None else 200, body)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                provider.requests.append((self.path, dict(self.headers), form))
                self._send(200, {"access_token": "at", "token_type": "Bearer", "id_token": provider.id_token()})

            def _send(self, status: int, body: Any) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                **self.document,
            }
        if path == "/keys":
            return {"keys": [key.as_dict(private=False) for key in self.keys]}
        return self.userinfo if path == "/userinfo" else None

    def id_token(self) -> str:
        moment = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "00u1",
            "aud": self.client_id,
            "exp": moment + 300,
            "iat": moment,
            "nonce": self.nonce,
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada",
            "groups": ["Looms"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "one", **self.header}
        key = self.signer or self.keys[0]
        if header["alg"] in {"none", "HS256"}:
            parts = ".".join(_plain(json.dumps(one).encode()) for one in (header, claims))
            signed = hmac.digest(self.signer, parts.encode(), "sha256") if header["alg"] == "HS256" else b""
            return f"{parts}.{_plain(signed)}"
        return jwt.encode(header, claims, key, algorithms=[header["alg"]])


def _plain(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
