"""A server of e-mail (RFC 5321) that keeps what it is sent."""

import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from email import message_from_bytes, policy


class MailServer:
    """Takes every letter, unless it is told to refuse the recipients.

    Attributes:
        letters: What came: (recipients, letter) each.
        logins: What was said to log in, as it was sent.
        refuses: Whether recipients are unknown.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, starttls: bool = False) -> None:
        self.letters, self.logins, self.refuses = [], [], False
        self._context, self._starttls = context, starttls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        with suppress(OSError):  # it is closed already
            self._socket.shutdown(socket.SHUT_RDWR)  # else `accept` keeps the port
        self._socket.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with suppress(OSError), ExitStack() as stack:
                    stack.enter_context(connection)
                    if self._context is not None and not self._starttls:
                        connection = self._context.wrap_socket(connection, server_side=True)
                        stack.enter_context(connection)
                    self._talk(connection, stack)

    def _talk(self, connection, stack):
        recipients, encrypted = [], not self._starttls
        lines = stack.enter_context(connection.makefile("rb"))
        self._say(connection, "220 here")
        while line := lines.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                offers = ["250-here", "250-AUTH PLAIN"]
                offers += ["250-STARTTLS"] if not encrypted else []
                self._say(connection, "\r\n".join([*offers, "250 SIZE 1000000"]))
            elif verb == b"STARTTLS":
                self._say(connection, "220 go on")
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.enter_context(connection)
                lines, encrypted = stack.enter_context(connection.makefile("rb")), True
            elif verb == b"AUTH":
                self.logins.append(line.split()[-1])
                self._say(connection, "235 welcome")
            elif verb == b"RCPT":
                recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
                self._say(connection, "550 nobody" if self.refuses else "250 known")
            elif verb == b"DATA":
                self._say(connection, "354 go on")
                text = b"".join(iter(lines.readline, b".\r\n"))
                letter = message_from_bytes(text, policy=policy.default)
                self.letters.append((recipients, letter))
                self._say(connection, "250 kept")
            elif verb == b"QUIT":
                self._say(connection, "221 bye")
                return
            else:
                self._say(connection, "250 well")

    @staticmethod
    def _say(connection, words):
        connection.sendall(f"{words}\r\n".encode())
