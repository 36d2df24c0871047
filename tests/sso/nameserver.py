"""A real name server of a few lines: UDP, TXT records, answers as dnspython makes them."""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ["NameServer"]


class NameServer:
    """Holds TXT records by name. ``silent`` makes it answer nothing, as one that is down."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.silent = False
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def stop(self) -> None:
        self.socket.close()

    def _serve(self) -> None:
        while True:
            try:
                wire, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            question = dns.message.from_wire(wire)
            name = question.question[0].name
            text = name.to_text(omit_final_dot=True).lower()
            self.asked.append(text)
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.RA
            if self.silent:
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif self.records.get(text) and question.question[0].rdtype == dns.rdatatype.TXT:
                quoted = [f'"{value}"' for value in self.records[text]]
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *quoted))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            try:
                self.socket.sendto(answer.to_wire(), peer)
            except OSError:
                return
