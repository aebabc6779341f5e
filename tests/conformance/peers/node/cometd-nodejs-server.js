"use strict";

// The CometD project's server for Node.js with the ack extension, and the hooks of the conformance suite that it can have: it sends no
// message with an id of ours to one session, so it has no remote calls.

const http = require("node:http");
const cometd = require("cometd-nodejs-server");
const { AcknowledgedMessagesExtension } = require("cometd-nodejs-server/ack-extension.js");
const { listen, timeoutMs, maxIntervalMs } = require("./arguments.js");

const bayeux = cometd.createCometDServer({ timeout: timeoutMs, maxInterval: maxIntervalMs });
bayeux.addExtension(new AcknowledgedMessagesExtension());
bayeux.addExtension({
  incoming: (server, session, message, callback) => callback(undefined, message.channel !== "/conformance/vetoed"),
});
bayeux.policy = {
  canHandshake: (session, message, callback) => callback(undefined, message.ext?.authentication?.token !== "bad"),
};

const hooks = {
  echo: (session, message) => session.deliver(null, message.channel, message.data),
  kick: (session) => session.disconnect(),
  "deliver-kick": (session, message) => {
    session.deliver(null, message.channel, { last: true });
    session.disconnect();
  },
};
for (const [name, handle] of Object.entries(hooks)) {
  bayeux.createServerChannel(`/service/conformance/${name}`).addListener("message", (session, channel, message, callback) => {
    handle(session, message);
    callback();
  });
}

listen(http.createServer(bayeux.handle), "cometd-nodejs-server");
