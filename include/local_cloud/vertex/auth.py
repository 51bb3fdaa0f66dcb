"""Bearer tokens: ``POST /token`` issues them, every other route of the API wants one.

Tokens are signed, not stored, with a secret that the job store keeps: a restart leaves them valid. The token endpoint
takes the signed assertion of any service-account key, since it guards nothing but a loopback port; what it does check
is what a client can get wrong, the form of the exchange. Google's generated clients skip the exchange and send such
an assertion itself as the bearer token ("self-signed JWT"): that is good too, as it is with Google.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from local_cloud.vertex.store import Store

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_SECONDS = 3600
_PREFIX = "local."
_OPEN_PATHS = ("/token", "/_local/")


class Tokens:
    """Issues and checks bearer tokens."""

    def __init__(self, store: Store) -> None:
        self._secret = store.secret("token_secret", secrets.token_hex(32)).encode()

    def issue(self) -> str:
        """Return a new token, valid for an hour."""
        claim = f"{int(time.time()) + _LIFETIME_SECONDS}.{secrets.token_hex(8)}"
        return f"{_PREFIX}{claim}.{self._sign(claim)}"

    def valid(self, token: str) -> bool:
        """Whether ``token`` was issued here and has not expired."""
        claim, _, signature = token.removeprefix(_PREFIX).rpartition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign(claim).encode())
        return genuine and int(claim.partition(".")[0]) > time.time()

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def routes(self) -> list[Route]:
        """Return the token endpoint."""
        return [Route("/token", self._token, methods=["POST"])]

    async def _token(self, request: Request) -> JSONResponse:
        """The service-account flow of RFC 7523; errors have OAuth's own shape, not that of Google's APIs."""
        form = parse_qs((await request.body()).decode(errors="replace"))
        grant = form.get("grant_type", [""])[0]
        if grant != _JWT_BEARER:
            return _refused("unsupported_grant_type", f"Expected {_JWT_BEARER}, got {grant[:100]!r}.")
        if not _is_assertion(form.get("assertion", [""])[0]):
            return _refused("invalid_grant", "Invalid JWT: it needs an issuer and an expiry that has not passed.")
        answer = {"access_token": self.issue(), "expires_in": _LIFETIME_SECONDS, "token_type": "Bearer"}
        return JSONResponse(answer)


class RequireToken:
    """ASGI middleware: answers 401 to API requests without a valid token."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(_OPEN_PATHS):
            await self._app(scope, receive, send)
            return
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = header.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and (self._tokens.valid(token) or _is_assertion(token)):
            await self._app(scope, receive, send)
            return
        message = (
            "Request had invalid authentication credentials. Expected OAuth 2 access token: "
            "use the service-account file that this server wrote, its token_uri is POST /token."
        )
        await ApiError(401, message).response()(scope, receive, send)


def _is_assertion(assertion: str) -> bool:
    parts = assertion.split(".")
    if len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return bool(claims["iss"]) and float(claims["exp"]) > time.time()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False


def _refused(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, 400)
