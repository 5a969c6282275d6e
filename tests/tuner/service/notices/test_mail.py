"""A server of e-mail hears, once, that a study has ended."""

import base64
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select, update

from tests.support.mail import MailServer
from tests.tuner.storage.requests.test_submissions import checked
from tuner.errors import SubmissionError
from tuner.service.incoming.intake import check_email
from tuner.service.notices.mail import send_mail_due
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.requests.submissions import Submissions
from tuner.storage.tables import SubmissionRow

FROM = "Alignment tuner <tuner@example.org>"


@pytest.fixture
def user(store):
    return caller_of(store.database, create_key(store.database, "ada")).user


@pytest.fixture
def server():
    server = MailServer()
    yield server
    server.close()


def submit(store, user):
    wish = checked(user, email="ada@example.org")
    return Submissions(store.database, max_queued=9).submit(wish)


def settings_of(server, scheme="smtp", user=""):
    return Settings(
        smtp_url=f"{scheme}://{user}127.0.0.1:{server.port}",
        mail_from=FROM,
        public_url="https://tuner.example.org/",
    )


def test_the_end_of_a_study_is_told_once(store, user, server):
    mine, settings = submit(store, user), settings_of(server)
    assert send_mail_due(store.database, settings) == 0  # it has not ended
    result = {"headline": "Align: λ = 0.5.", "joint": {"lambda": 0.5, "verdict": "align"}}
    store.update("s1", status="done", result=result)
    assert send_mail_due(store.database, Settings()) == 0  # who runs it sends none
    assert send_mail_due(store.database, settings) == 1
    assert send_mail_due(store.database, settings) == 0
    (((recipient,), letter),) = server.letters
    assert recipient == letter["To"] == "ada@example.org"
    assert letter["From"] == FROM
    assert letter["Subject"] == "Alignment tuner: name of s1 is done"
    assert letter.get_content().strip() == (
        f"name of s1: Align: λ = 0.5. https://tuner.example.org/#/studies/{mine.id}"
    )


def test_a_letter_that_is_refused_is_sent_again_and_its_owner_told_why(store, user, server):
    mine, settings = submit(store, user), settings_of(server)
    store.set_status("s1", "failed", "planted")
    server.refuses = True
    assert send_mail_due(store.database, settings) == 0
    told = Submissions(store.database, max_queued=9).get(user, mine.id)
    assert told.email_error == (
        "The e-mail to ada@example.org: the server does not take that address. Tried 1 times."
    )
    assert told.webhook_error is None
    server.refuses = False
    assert send_mail_due(store.database, settings) == 0  # not at once
    store.database.run(lambda session: session.execute(update(SubmissionRow).values(email_due=0.0)))
    assert send_mail_due(store.database, settings) == 1
    assert server.letters[0][1].get_content().startswith("name of s1 failed: planted")


def test_a_server_that_is_away_is_tried_again(store, user, server):
    settings = settings_of(server)
    server.close()
    submit(store, user)
    store.set_status("s1", "cancelled")
    assert send_mail_due(store.database, settings) == 0
    row = store.database.run(lambda session: session.scalar(select(SubmissionRow)))
    assert "the server does not answer. Tried 1 times." in row.email_error
    assert row.email_due is not None


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """A context for a server at 127.0.0.1 whose certificate this machine trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    host, now = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, pem = tmp_path / "server.pem", serialization.Encoding.PEM
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, kind, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context, path


@pytest.mark.parametrize(("scheme", "starttls"), [("smtps", False), ("smtp", True)])
def test_what_is_sent_is_encrypted_and_logged_in_for(
    store, user, certified, monkeypatch, scheme, starttls
):
    context, certificate = certified
    server = MailServer(context, starttls=starttls)
    settings = settings_of(server, scheme, "ada:p%40ss@")
    submit(store, user)
    store.set_status("s1", "failed", "planted")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert send_mail_due(store.database, settings) == 0  # a certificate of nobody's
    assert server.logins == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    store.database.run(lambda session: session.execute(update(SubmissionRow).values(email_due=0.0)))
    assert send_mail_due(store.database, settings) == 1
    assert base64.b64decode(server.logins[0]) == b"\0ada\0p@ss"
    server.close()


def test_addresses_are_checked(server):
    settings = settings_of(server)
    check_email(None, Settings())
    check_email("ada.l+x@mail.example.org", settings)
    with pytest.raises(SubmissionError, match="TUNER_SMTP_URL"):
        check_email("ada@example.org", Settings())
    for wrong in ("ada", "a@b@c", "a b@c", "a@b\r\nBcc: c@d", "a@b.", "<a@b>", "a@b,c@d", "é@b"):
        with pytest.raises(SubmissionError, match="is no address"):
            check_email(wrong, settings)


@pytest.mark.parametrize("allowed", ["", "Example.org, example.net"])
def test_no_stranger_is_written_to(server, allowed):
    settings = settings_of(server).model_copy(update={"allowed_mail": allowed})
    for known in ("ada@example.org", "ada@EXAMPLE.org", "ada@mail.example.org"):
        check_email(known, settings)
    for stranger in ("ada@notexample.org", "ada@example.org.evil.com", "ada@example.com"):
        with pytest.raises(SubmissionError, match="sends to addresses at"):
            check_email(stranger, settings)
    if allowed:
        check_email("ada@example.net", settings)
