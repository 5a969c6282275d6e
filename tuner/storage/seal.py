"""Seals what a database keeps but must not tell: who reads its tables or a backup reads nothing."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from tuner.errors import SealError


class Seal:
    """Seals texts and opens them again.

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
