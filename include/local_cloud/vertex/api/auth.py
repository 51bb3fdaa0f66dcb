"""Bearer tokens: ``POST /token`` issues them; with ``require_token`` every route of the API wants one.

Tokens are signed, not stored, with a secret that the job store keeps: a restart leaves them valid. Google's generated
clients skip the exchange and send the signed assertion itself as the bearer token ("self-signed JWT"): that is good
too, as it is with Google.

While a token is required, an assertion must bear the signature of the one key that this server made, so that a test
with the wrong service account fails here as it would in production. While none is required, any assertion with an
issuer that has not expired gets a token, and what a request has in ``Authorization`` doesn't matter: a sample that
brings a token of Google's own runs as it is.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.api.errors import response_of
from local_cloud.vertex.api.http import raw_body
from local_cloud.vertex.errors import ApiError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from local_cloud.vertex.jobs.store import Store
    from local_cloud.vertex.settings import Settings

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PREFIX = "local."
_OPEN_PATHS = ("/token", "/_local/")
_EXPIRED_BEFORE = "tokens_expired_before"


class Tokens:
    """Issues and checks bearer tokens."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._secret = store.secret("token_secret", secrets.token_hex(32)).encode()
        self._key = _public_key(settings.state_dir / "credentials.json")
        self._expired_before = store.counter(_EXPIRED_BEFORE)

    def routes(self) -> list[Route]:
        """Return the token endpoint, and the switch that ends all tokens."""
        return [
            Route("/token", self._token, methods=["POST"]),
            Route("/_local/tokens:expire", self._expire, methods=["POST"]),
        ]

    def issue(self) -> str:
        """Return a new token."""
        issued = int(time.time())
        claim = f"{issued}.{issued + self._settings.behaviour.token_seconds}.{secrets.token_hex(8)}"
        self._store.count("tokens_issued")
        return f"{_PREFIX}{claim}.{self._sign(claim)}"

    def valid(self, token: str) -> bool:
        """Whether ``token`` was issued here, or is an assertion of our key, and is still good."""
        return self._issued_here(token) or self._asserted(token)

    def _issued_here(self, token: str) -> bool:
        claim, _, signature = token.removeprefix(_PREFIX).rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(claim).encode()):
            return False
        issued, expires, _ = claim.split(".")
        return self._in_time(int(issued), int(expires))

    def _asserted(self, assertion: str) -> bool:
        claims = _claims(assertion)
        genuine = not self._settings.behaviour.require_token or _signed(assertion, self._key)
        return bool(genuine and claims.get("iss")) and self._in_time(claims.get("iat", 0), claims.get("exp", 0))

    def _in_time(self, issued: Any, expires: Any) -> bool:
        if not (isinstance(issued, (int, float)) and isinstance(expires, (int, float))):
            return False
        return issued >= self._expired_before and expires > time.time()

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    async def _token(self, request: Request) -> JSONResponse:
        """The service-account flow of RFC 7523; errors have OAuth's own shape, not that of Google's APIs."""
        form = parse_qs((await raw_body(request)).decode(errors="replace"))
        grant = form.get("grant_type", [""])[0]
        if grant != _JWT_BEARER:
            return _refused("unsupported_grant_type", f"Expected {_JWT_BEARER}, got {grant[:100]!r}.")
        if not self._asserted(form.get("assertion", [""])[0]):
            return _refused(
                "invalid_grant", "Invalid JWT: it needs an issuer, an expiry that has not passed, and our signature."
            )
        lifetime = self._settings.behaviour.token_seconds
        return JSONResponse({"access_token": self.issue(), "expires_in": lifetime, "token_type": "Bearer"})

    async def _expire(self, _request: Request) -> JSONResponse:
        """Make every token issued before this call invalid, self-signed ones too.

        The time in a token is a whole second: this waits for the next one to begin, so that a token issued after the
        answer is good again.
        """
        second = int(time.time())
        while int(time.time()) == second:
            await asyncio.sleep(second + 1 - time.time())
        self._expired_before = int(time.time())
        self._store.keep(_EXPIRED_BEFORE, str(self._expired_before))
        return JSONResponse({})


class RequireToken:
    """ASGI middleware: answers 401 to API requests without a valid token, as long as one is required."""

    def __init__(self, app: ASGIApp, tokens: Tokens, settings: Settings) -> None:
        self._app = app
        self._tokens = tokens
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        open_to_all = scope["type"] != "http" or scope["path"].startswith(_OPEN_PATHS)
        if open_to_all or not self._settings.behaviour.require_token or self._tokens.valid(_token_of(scope)):
            await self._app(scope, receive, send)
        else:
            message = (
                "Request had invalid authentication credentials. Expected OAuth 2 access token: "
                "use the service-account file that this server wrote, its token_uri is POST /token."
            )
            await response_of(ApiError(401, message))(scope, receive, send)


def _token_of(scope: Scope) -> str:
    """Return the token in the header, or in the standard query parameter ``access_token``."""
    header = b",".join(value for name, value in scope["headers"] if name == b"authorization")
    if not header:
        query: bytes = scope["query_string"]
        return parse_qs(query.decode("latin-1")).get("access_token", [""])[0]
    scheme, _, token = header.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _claims(assertion: str) -> dict[str, Any]:
    """Return what a JWT says, whoever signed it; nothing when it isn't one."""
    parts = assertion.split(".")
    try:
        claims = json.loads(_bytes(parts[1])) if len(parts) == 3 else {}
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _signed(assertion: str, key: RSAPublicKey) -> bool:
    text, _, signature = assertion.rpartition(".")
    try:
        key.verify(_bytes(signature), text.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))


def _public_key(credentials: Path) -> RSAPublicKey:
    key = load_pem_private_key(json.loads(credentials.read_text())["private_key"].encode(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError(f"{credentials} holds no RSA key")
    return key.public_key()


def _refused(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, 400)
