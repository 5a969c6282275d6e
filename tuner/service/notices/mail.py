"""Tells by e-mail that studies have ended: a sentence and a link, through the operator's server."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from tuner.errors import TunerError
from tuner.service.notices.webhooks import Round, UndeliveredError, notice
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.requests.outbox import Message, Outbox
from tuner.storage.requests.submissions import Submission, Submissions

_TIMEOUT = 10.0  # seconds that the server has for each answer
_DEADLINE = 45.0  # seconds that it has in all: a message is claimed for a minute
_HERE = ("localhost", "127.0.0.1", "::1")
_PORTS = {"smtp": 587, "smtps": 465}


def send_mail_due(database: Database, settings: Settings) -> int:
    """Send what is due, and put off what does not arrive, as webhooks are; how many arrived."""
    if not settings.sends_mail:
        return 0
    submissions = Submissions(database, max_queued=0)

    async def post(message: Message) -> None:
        submission = await asyncio.to_thread(submissions.get, message.user, message.submission)
        if submission is None:
            return  # deleted meanwhile: nobody waits for it
        letter = _letter(submission, message.url, settings)
        try:
            await asyncio.wait_for(asyncio.to_thread(_send, letter, settings), _DEADLINE)
        except (OSError, smtplib.SMTPException, TunerError) as fault:
            raise UndeliveredError(f"The e-mail to {message.url}: {_reason(fault)}.") from fault

    return asyncio.run(Round(Outbox(database, "email"), post).send())


def _letter(submission: Submission, to: str, settings: Settings) -> EmailMessage:
    words = notice(submission, settings.public_url)
    letter = EmailMessage()
    letter["From"], letter["To"] = settings.mail_from, to
    letter["Subject"] = f"Alignment tuner: {submission.name} is {submission.status}"
    # The same each time: a reader shows it once.
    domain = str(settings.mail_from).rpartition("@")[2].strip("> ")
    letter["Message-ID"] = f"<study.ended.{submission.id}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(words + "\n")
    return letter


def _send(letter: EmailMessage, settings: Settings) -> None:
    """Hand a letter to the server.

    Raises:
        OSError: If the server does not answer.
        smtplib.SMTPException: If it does not take the letter.
        TunerError: If it would have it unencrypted.
    """
    parts = urlsplit(str(settings.smtp_url))
    host, port = parts.hostname or "localhost", parts.port or _PORTS.get(parts.scheme, 0)
    context = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT)
    with server:
        server.ehlo()
        if parts.scheme != "smtps" and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        elif parts.scheme != "smtps" and host not in _HERE:
            raise TunerError("the server offers no encryption")
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(letter)


def _reason(fault: Exception) -> str:
    """Say why a letter was not sent, in words for its owner; none of the server's secrets."""
    if isinstance(fault, smtplib.SMTPRecipientsRefused):
        return "the server does not take that address"
    if isinstance(fault, smtplib.SMTPResponseException):
        return f"the server answered {fault.smtp_code}"
    if isinstance(fault, ssl.SSLError):
        return "the server cannot be trusted: its certificate is not that of its name"
    return "the server does not answer" if isinstance(fault, OSError) else str(fault)
