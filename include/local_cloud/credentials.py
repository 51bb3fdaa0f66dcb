"""A service-account key file whose token endpoint is the local Vertex AI.

Google's clients and Airflow's Google connection treat it like any downloaded key; its ``token_uri`` is the only
thing that makes it local. The key is generated on this machine and is worth nothing anywhere else.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from pathlib import Path


def write_service_account(path: Path, *, project: str, token_uri: str) -> None:
    """Write a service-account key file (mode 0600) at ``path``.

    An existing file keeps its key and only gets the new ``token_uri`` and project, so that connections which
    already point at it go on working after a restart on another port.
    """
    account = json.loads(path.read_text()) if path.exists() else _new_account()
    account |= {
        "project_id": project,
        "client_email": f"local@{project}.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(account, file, indent=2)
    draft.replace(path)


def _new_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "private_key_id": uuid.uuid4().hex,
        "private_key": pem.decode(),
        "client_id": str(uuid.uuid4().int)[:21],
        "universe_domain": "googleapis.com",
    }
