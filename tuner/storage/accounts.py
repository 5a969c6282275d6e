"""Users, their API keys, the sessions of their browsers, and what seals their secrets."""

import base64
import hashlib
import secrets
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tuner.errors import SealError
from tuner.storage.connections import LOOK, announce
from tuner.storage.database import Database
from tuner.storage.leases import clock
from tuner.storage.tables import KeyRow, SessionRow, UserRow

SCOPES = ("read", "write")
SESSION_SECONDS = 30 * 86400  # after which one logs in again
_PREFIX = 8


class Seal:
    """Seals what the database keeps but must not tell: who reads its tables reads nothing.

    Args:
        key: Any text that only services know; of much randomness.
    """

    def __init__(self, key: str) -> None:
        digest = hashlib.sha256(f"tuner\n{key}".encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def close(self, text: str) -> str:
        """Seal a text; twice the same is sealed differently."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return a text that was sealed with the same key.

        Raises:
            SealError: If it was sealed with another.
        """
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise SealError(
                "webhook secrets were sealed with another key: give this service the "
                "TUNER_SECRET_KEY, the database URL or the file secret-key that it had"
            ) from None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request, and what they may do.

    Attributes:
        user: Number of the user.
        name: Of the user.
        key: Id of the key that they show, or with which they have logged in.
        scopes: What that may do.
        session: Digest of the session's token, if they have logged in.
    """

    user: int
    name: str
    key: str
    scopes: tuple[str, ...]
    session: str | None = None


def create_key(database: Database, user: str, scopes: tuple[str, ...] = SCOPES) -> str:
    """Make a key for a user, who is written down first if new; it cannot be shown again.

    Raises:
        ValueError: If a scope is unknown.
    """
    token = new_token()
    add_key(database, user, token, scopes)
    return token


def new_token() -> str:
    """Return a key that nobody has, of 256 random bits; `add_key` lets it count."""
    return f"tk_{secrets.token_urlsafe(32)}"


def add_key(database: Database, user: str, token: str, scopes: tuple[str, ...] = SCOPES) -> None:
    """Let a key be a user's, who is written down first if new.

    Raises:
        ValueError: If a scope is unknown.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValueError(f"scopes are {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")

    def work(session: Session) -> None:
        owner = session.scalar(select(UserRow).filter_by(name=user))
        if owner is None:
            owner = UserRow(name=user)
            session.add(owner)
            session.flush()
        digest = _digest(token)
        session.add(
            KeyRow(
                id=digest[:_PREFIX],
                user_id=owner.id,
                digest=digest,
                scopes=list(scopes),
                revoked=False,
            )
        )

    database.run(work)


def keys(database: Database) -> list[tuple[KeyRow, str]]:
    """Return every key with the name of its user."""
    query = select(KeyRow, UserRow.name).join(UserRow).order_by(KeyRow.created)
    return database.run(lambda session: [(row, name) for row, name in session.execute(query)])


def revoke_key(database: Database, key: str) -> bool:
    """Revoke a key by its id; whether there is one."""

    def work(session: Session) -> bool:
        row = session.get(KeyRow, key)
        if row is None:
            return False
        row.revoked = True
        announce(session, LOOK)
        return True

    return database.run(work)


def caller_of(database: Database, token: str) -> Caller | None:
    """Return who a key belongs to; None if it is unknown or revoked."""
    return database.run(lambda session: _caller_of(session, token))


def open_session(database: Database, token: str) -> str | None:
    """Let somebody who shows a key do without it for a while; returns the token of that session.

    None if the key is unknown or revoked.
    """
    own_token = f"ts_{secrets.token_urlsafe(32)}"

    def work(session: Session) -> str | None:
        caller = _caller_of(session, token)
        if caller is None:
            return None
        now = float(session.scalar(select(clock(session))) or 0.0)
        session.execute(delete(SessionRow).where(SessionRow.expires < now))
        digest, expires = _digest(own_token), now + SESSION_SECONDS
        session.add(SessionRow(digest=digest, key_id=caller.key, expires=expires))
        return own_token

    return database.run(work)


def caller_of_session(database: Database, token: str) -> Caller | None:
    """Return who has opened a session; None if it is over, or its key was revoked."""
    return database.run(lambda session: _in_session(session, _digest(token)))


def close_session(database: Database, token: str) -> None:
    """End a session, if there is one of this token."""

    def work(session: Session) -> None:
        session.execute(delete(SessionRow).where(SessionRow.digest == _digest(token)))
        announce(session, LOOK)

    database.run(work)


def is_let_in(database: Database, caller: Caller) -> bool:
    """Whether a caller may go on: the key was not revoked, and the session not ended."""

    def work(session: Session) -> bool:
        if caller.session is not None:
            return _in_session(session, caller.session) is not None
        row = session.get(KeyRow, caller.key)
        return row is not None and not row.revoked

    return database.run(work)


def _caller_of(session: Session, token: str) -> Caller | None:
    digest = _digest(token)
    row = session.execute(
        select(KeyRow, UserRow)
        .join(UserRow)
        .where(KeyRow.id == digest[:_PREFIX], KeyRow.revoked.is_(False))
    ).first()
    if row is None or not secrets.compare_digest(row[0].digest, digest):
        return None
    key, user = row
    return Caller(user=user.id, name=user.name, key=key.id, scopes=tuple(key.scopes))


def _in_session(session: Session, digest: str) -> Caller | None:
    row = session.execute(
        select(KeyRow, UserRow)
        .join(UserRow)
        .join(SessionRow, SessionRow.key_id == KeyRow.id)
        .where(SessionRow.digest == digest, SessionRow.expires > clock(session))
        .where(KeyRow.revoked.is_(False))
    ).first()
    if row is None:
        return None
    key, user = row
    return Caller(
        user=user.id, name=user.name, key=key.id, scopes=tuple(key.scopes), session=digest
    )


def webhook_secret(database: Database, user: int, seal: Seal | None = None) -> str:
    """Return what the webhooks of a user are signed with, made when it is first asked for.

    Args:
        database: Where it is.
        user: Whose.
        seal: What it is kept under, and a plain one of version 0.1.0 from now on; None to keep
            it plain.

    Raises:
        KeyError: If there is no such user.
        SealError: If it is under another seal.
    """

    def work(session: Session) -> str:
        row = session.get(UserRow, user, with_for_update=True)
        if row is None:
            raise KeyError(f"there is no user {user}")
        if seal is not None and row.sealed_secret is not None:
            row.webhook_secret = None
            return seal.open(row.sealed_secret)
        made = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        secret = row.webhook_secret or made
        row.webhook_secret = None if seal else secret
        row.sealed_secret = None if seal is None else seal.close(secret)
        return secret

    return database.run(work)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
