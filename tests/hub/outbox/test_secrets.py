"""Secrets: libraries verify whatever is signed with one that is accepted, and those from before are told of."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from importlib import import_module
from pathlib import Path

import pytest
import structlog

from hub.core.field_error import FieldError
from hub.doctor.inspection import Inspection, Level
from hub.ops.settings import Settings
from hub.outbox import endpoint_store, sign
from hub.outbox.administration import checked_secret
from hub.outbox.doctor import webhook_secrets
from hub.outbox.models import OutboxEvent, Secret
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.migrations import migrate
from hub.storage.transactions import Transactions
from tests.hub.outbox.house import House
from tests.hub.outbox.support import endpoint
from tests.support.puppet import NODE_FOLDER

BODY = '{"operationId":"op","data":{"text":"ü€"}}'


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


STANDARD = (sign.new_secret(), whsec(bytes(24)), whsec(bytes(range(25))), whsec(b"\xff" * 62), whsec(b"\xfb\xef" * 32))
TEXTS = ("s3cret-text", "a plain text with blanks", "ünïcode, too", "WHSEC_AAAA", "whsec-AAAA", "x" * 1024)

REFUSED = (
    ("whsec_not base64!", "what is no base64"),
    ("whsec_" + "A" * 33, "what is no base64"),
    ("whsec_" + base64.urlsafe_b64encode(b"\xfb" * 24).decode(), "what is no base64"),
    (whsec(bytes(25)).rstrip("="), "what is no base64"),
    (whsec(bytes(25))[:-3] + "B==", "base64 that encodes its bytes otherwise than usual"),
    ("whsec_", "base64 of 0 bytes"),
    (whsec(bytes(23)), "base64 of 23 bytes"),
    (whsec(bytes(65)), "base64 of 65 bytes"),
)


def signed(secret: str) -> dict[str, str]:
    event = OutboxEvent(7, "acme", "thing.started", "k", "", "op-1", "t" * 32, "", BODY.encode(), 0)
    return sign.headers(event, [Secret(secret)], 1, int(time.time()))


@pytest.mark.parametrize("library", ["standardwebhooks", "svix.webhooks"])
@pytest.mark.parametrize("secret", [pytest.param(STANDARD[0], id="a new one"), *STANDARD[1:], *TEXTS])
def test_libraries_for_python_verify_with_every_secret_that_is_accepted(secret: str, library: str) -> None:
    verifier = import_module(library)  # here: svix takes a second, which every process would spend that collects this test
    assert checked_secret(secret) == secret
    webhook = verifier.Webhook(secret if secret in STANDARD else secret.encode())
    webhook.verify(BODY, signed(secret))  # raises where it does not
    with pytest.raises(verifier.WebhookVerificationError):
        webhook.verify(BODY + " ", signed(secret))


@pytest.mark.node
def test_libraries_for_javascript_verify_with_every_secret_that_is_accepted() -> None:
    if missing := [name for name in ("standardwebhooks", "svix") if not (NODE_FOLDER / "node_modules" / name).is_dir()]:
        pytest.skip(f"{', '.join(missing)} of tests/clients/node: not installed; run `make test`, or `npm ci` in that folder")
    asked = [
        {"secret": secret, "raw": secret in TEXTS, "headers": signed(secret), "body": BODY}
        for secret in [*STANDARD, *TEXTS]
        if checked_secret(secret)
    ]
    wrong = {**asked[0], "body": BODY + " "}
    ran = subprocess.run(
        ["node", "verify.mjs"], cwd=NODE_FOLDER, input=json.dumps([*asked, wrong]), capture_output=True, text=True, check=True, timeout=60
    )
    *said, of_wrong = json.loads(ran.stdout)
    assert said == [{"standardwebhooks": "verified", "svix": "verified"}] * len(asked)
    assert "verified" not in of_wrong.values()


@pytest.mark.parametrize(("secret", "got"), REFUSED)
def test_a_secret_that_libraries_would_not_take_is_refused_and_not_told(secret: str, got: str) -> None:
    with pytest.raises(FieldError) as refused:
        checked_secret(secret if len(secret) >= 8 else secret + "AA==")
    assert refused.value.field == "secret"
    if len(secret) >= 8:
        expected = "base64 of 24 to 64 bytes after whsec_ (or a text that does not begin so)"
        assert str(refused.value) == f"secret: expected {expected}, got {json.dumps(got)}"


async def test_a_stored_one_goes_on_signing_and_is_told_of_at_the_start(light_transactions: Transactions) -> None:
    house = House(light_transactions)
    await house.save(
        endpoint("ep_good", secrets=(Secret(STANDARD[0]),)),
        endpoint("ep_odd", secrets=(Secret("whsec_c2hvcnQ="),)),
        endpoint("ep_over", secrets=(Secret(STANDARD[0]), Secret("whsec_c2hvcnQ=", 1))),
    )
    with structlog.testing.capture_logs() as logged:
        async with house.running():
            await house.record()
            await house.until(lambda: house.counters.delivered == 3)
    (told,) = [line for line in logged if line["event"] == "secrets_not_standard"]
    assert (told["log_level"], told["endpoints"], told["count"], told["advice"]) == ("warning", ["ep_odd"], 1, sign.ROTATE)
    assert "c2hvcnQ" not in str(logged)
    headers = signed("whsec_c2hvcnQ=")
    assert sign.verify_standard("whsec_c2hvcnQ=", BODY.encode(), "msg_op-1", headers["webhook-timestamp"], headers["webhook-signature"])


async def test_the_doctor_names_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    inspection = Inspection(settings, 5_000, ["hub.storage.migrations", "hub.outbox.migrations"])
    assert list(webhook_secrets(inspection)) == [], "there is no database yet"
    database = Database(settings.database)
    await migrate(database)
    transactions = Transactions(backend_of(database))
    await transactions.start()
    await transactions.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 0)"))
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_good", secrets=(Secret(STANDARD[0]),))))
    (fine,) = webhook_secrets(inspection)
    await transactions.write(
        lambda tx: endpoint_store.save(tx, endpoint("ep_odd", secrets=(Secret("whsec_c2hvcnQ="),), owner="messaging", description="of 017"))
    )
    (found,) = webhook_secrets(inspection)
    await transactions.stop()
    database.close()
    assert (fine.level, found.level) == (Level.OK, Level.WARNING)
    assert "of 017 (ep_odd) of tenant acme" in found.message
    assert "c2hvcnQ" not in found.message
    assert found.advice == sign.ROTATE
