from email import message_from_bytes
from email.policy import default
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from airflow.sdk import DAG

from gemini_tuning.pipeline import PipelineConfig
from gemini_tuning.stages import notification_callbacks


class Mailbox:
    """Keeps every mail it is sent."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 kept"


@pytest.fixture
def mailbox(monkeypatch, unused_port):
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=unused_port)
    controller.start()
    options = "disable_tls=true&disable_ssl=true&from_email=airflow@example.com"
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", f"smtp://127.0.0.1:{unused_port}/?{options}")
    yield mailbox
    controller.stop()


def callbacks(**notifications):
    pipeline = PipelineConfig.parse(
        {
            "name": "replies",
            "bucket": "my-bucket",
            "base_model": "gemini-2.5-flash",
            "train": "t.jsonl",
            "smoke_suite": "s.yaml",
            "notifications": notifications or None,
        },
        "replies.yaml",
    )
    return notification_callbacks(pipeline.to_json())


def test_nobody_is_told_unless_the_pipeline_says_so():
    assert callbacks() == {}


def test_a_failed_run_is_mailed_to_everybody_named(mailbox):
    found = callbacks(email=["a@example.com", "b@example.com"])
    assert set(found) == {"on_failure_callback"}
    found["on_failure_callback"]({
        "dag_run": SimpleNamespace(run_id="manual__1"),
        "dag": DAG("tune_replies", schedule=None),
    })
    ((recipients, mail),) = mailbox.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert mail["Subject"] == "Tuning pipeline replies failed: manual__1"
    (page,) = [part.get_content() for part in mail.walk() if part.get_content_type() == "text/html"]
    assert "<b>tune_replies</b> failed" in page


def test_success_is_mailed_when_asked_for():
    assert set(callbacks(email=["a@example.com"], when=["success", "failure"])) == {
        "on_failure_callback",
        "on_success_callback",
    }
