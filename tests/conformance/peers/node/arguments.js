"use strict";

// The arguments that every launcher takes, and the one line that says the server is ready.

const { parseArgs } = require("node:util");

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8081" },
    "timeout-ms": { type: "string", default: "20000" },
    "max-interval-ms": { type: "string", default: "10000" },
  },
});

module.exports = {
  port: Number(values.port),
  timeoutMs: Number(values["timeout-ms"]),
  maxIntervalMs: Number(values["max-interval-ms"]),

  /** Listen on the loopback interface, and say so; end on SIGTERM. */
  listen(server, name) {
    server.listen(Number(values.port), "127.0.0.1", () => {
      const { version } = require(`${name}/package.json`);
      console.log(`ready: ${name} ${version}, port ${server.address().port}`);
    });
    process.on("SIGTERM", () => process.exit(0));
    // a request that would end the process counts against the test that sent it, not against all that come after
    process.on("uncaughtException", (fault) => console.error("uncaught:", fault));
  },
};
