/*
 * A client library as a puppet: a test sends it commands, one JSON text a line on stdin, and gets the results and whatever happens
 * meanwhile as JSON texts on stdout, each behind a record separator (RFC 7464), because the libraries print there too.
 *
 *   > {"call": 1, "name": "subscribe", "args": ["/a"]}
 *   < {"call": 1, "result": {...}}   or   {"call": 1, "error": "..."}
 *   < {"event": "message", ...}
 */
import {createInterface} from "node:readline";
import process from "node:process";

const RECORD_SEPARATOR = "\x1e";

/** Writes one record for the test to read. */
function record(value) {
    process.stdout.write(`${RECORD_SEPARATOR}${JSON.stringify(value)}\n`);
}

/** Tells the test that something happened by itself. */
export function emit(event, fields) {
    record({event, ...fields});
}

/** Serves the commands until stdin ends; `commands` maps a name to a function that returns the result or a promise of it. */
export function serve(commands) {
    process.on("unhandledRejection", (fault) => emit("fault", {message: String(fault?.stack ?? fault)}));
    const lines = createInterface({input: process.stdin});
    lines.on("line", async (line) => {
        const {call, name, args} = JSON.parse(line);
        try {
            record({call, result: (await commands[name](...args)) ?? null});
        } catch (fault) {
            record({call, error: String(fault?.stack ?? fault)});
        }
    });
    // the libraries keep agents and timers alive: the end of the commands is the end of the process
    lines.on("close", () => process.exit(0));
    emit("ready", {});
}
