/*
 * Client libraries as puppets: a test sends commands, one JSON text a line on stdin, and gets the results and whatever happens meanwhile
 * as JSON texts on stdout, each behind a record separator (RFC 7464), because the libraries print there too. One process holds as many
 * clients as the test wants; each is known by a number of the test's own.
 *
 *   > {"call": 1, "client": 7, "name": "subscribe", "args": ["/a"]}
 *   < {"call": 1, "result": {...}}   or   {"call": 1, "error": "..."}
 *   < {"event": "message", "client": 7, ...}
 */
import {createInterface} from "node:readline";
import process from "node:process";

const RECORD_SEPARATOR = "\x1e";

/** Writes one record for the test to read. */
function record(value) {
    process.stdout.write(`${RECORD_SEPARATOR}${JSON.stringify(value)}\n`);
}

/**
 * Serves the commands until stdin ends. `makeClient(emit)` makes a client: an object of functions, each of which returns its result or a
 * promise of it; `drop`, if it has one, is the last of them. `emit(event, fields)` tells the test that something happened by itself.
 */
export function serve(makeClient) {
    const clients = new Map();
    process.on("unhandledRejection", (fault) => record({event: "fault", client: null, message: String(fault?.stack ?? fault)}));
    const lines = createInterface({input: process.stdin});
    lines.on("line", async (line) => {
        const {call, client, name, args} = JSON.parse(line);
        if (!clients.has(client)) {
            clients.set(client, makeClient((event, fields) => record({event, client, ...fields})));
        }
        try {
            record({call, result: (await clients.get(client)[name](...args)) ?? null});
        } catch (fault) {
            record({call, error: String(fault?.stack ?? fault)});
        }
        if (name === "drop") {
            clients.delete(client);
        }
    });
    // the libraries keep agents and timers alive: the end of the commands is the end of the process
    lines.on("close", () => process.exit(0));
    record({event: "ready", client: null});
}
