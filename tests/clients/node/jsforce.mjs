/* The streaming clients of jsforce 1 and 3, as puppets (see harness.mjs): Faye inside, `Authorization: OAuth T`, and the replay extension. */
import {createRequire} from "node:module";

import {serve} from "./harness.mjs";

const require = createRequire(import.meta.url);
const LIBRARIES = {jsforce: "jsforce", jsforce1: "jsforce1"};

serve((emit) => {
    let client = null;
    return {
        open({url, library, token}) {
            const jsforce = require(LIBRARIES[library]);
            const connection = new jsforce.Connection({instanceUrl: url, accessToken: token, version: "60.0"});
            const {StreamingExtension} = library === "jsforce" ? require("jsforce/lib/api/streaming") : jsforce;
            this.make = (channel, from) =>
                connection.streaming.createClient(from === null ? [] : [new StreamingExtension.Replay(channel, from)]);
        },
        /** Resolves when the hub has answered; `from` is -1, -2 or a position, or null to do without the replay extension. */
        subscribe(channel, from) {
            client = this.make(channel, from);
            return client.subscribe(channel, (data) => emit("message", {message: {channel, data}})).then(() => ({successful: true}));
        },
        disconnect: () => client.disconnect(),
        drop: () => {
            client?.disconnect();
        },
    };
});
