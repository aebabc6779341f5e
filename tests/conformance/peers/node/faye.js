"use strict";

// Faye's server, and the hooks of the conformance suite that it can have: its extensions refuse messages and handshakes, but it sends
// nothing to one session and ends none. It has no maxInterval: a session lives for twice the timeout.

const http = require("node:http");
const faye = require("faye");
const { listen, timeoutMs } = require("./arguments.js");

const bayeux = new faye.NodeAdapter({ mount: "/cometd", timeout: timeoutMs / 1000 });
bayeux.addExtension({
  incoming: (message, callback) => {
    if (message.channel === "/conformance/vetoed") message.error = "404::message_deleted";
    if (message.channel === "/meta/handshake" && message.ext?.authentication?.token === "bad") message.error = "403::handshake_denied";
    callback(message);
  },
});

const server = http.createServer((request, response) => response.writeHead(404).end());
bayeux.attach(server);
listen(server, "faye");
