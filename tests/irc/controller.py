"""How irctest starts chatd (its path is in $CHATD): a server of its own for each test."""

import os
import socket
import time

from irctest.basecontrollers import BaseServerController, DirectoryBasedController
from irctest.runner import NotImplementedByController


class PlainchatController(BaseServerController, DirectoryBasedController):
    software_name = "plainchat"
    supported_sasl_mechanisms = {"PLAIN"}
    supports_sts = False
    nickserv = "NickServ"
    sync_sleep_time = 0.0

    def run(self, hostname, port, *, password, ssl, run_services, faketime, websocket_hostname, websocket_port):
        if ssl or websocket_hostname:
            raise NotImplementedByController("ssl or websocket")
        self.port, self.hostname = port, hostname
        self.create_config()
        # On a shared port, chatd recognizes an IRC client by its USER or CAP. The tests of LUSERS send NICK alone, so
        # they need a port that speaks only IRC.
        scheme = "irc://" if "lusers.py" in os.environ["PYTEST_CURRENT_TEST"] else ""
        command = [os.environ["CHATD"], "--memory", "--listen", f"{scheme}127.0.0.1:{port}"]
        command += ["--name", "My.Little.Server", "--announce-after", "0s", "--no-announce"]
        if password:
            path = self.directory / "password"
            path.write_text(password + "\n")
            path.chmod(0o600)
            command += ["--password-file", str(path)]
        self.proc = self.execute(command)

    def wait_for_port(self):
        """Waits without sending anything. irctest would send QUIT and wait for an ERROR, but chatd takes a QUIT on a new
        connection for a line of its own protocol and answers differently."""
        while not self.port_open:
            self.check_is_alive()
            try:
                socket.create_connection((self.hostname, self.port), timeout=1).close()
                self.port_open = True
            except ConnectionRefusedError:
                time.sleep(0.02)

    def wait_for_services(self):
        self.wait_for_port()

    def registerUser(self, case, username, password=None):
        client = case.addClient(show_io=False)
        case.sendLine(client, "NICK " + username)
        case.sendLine(client, "USER r e g :user")
        while case.getRegistrationMessage(client).command != "001":
            pass
        case.getMessages(client)
        case.sendLine(client, f"REGISTER * * {password}")
        answers = [message for message in case.getMessages(client) if message.command == "REGISTER"]
        assert any("SUCCESS" in message.params for message in answers)
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)


def get_irctest_controller_class():
    return PlainchatController
