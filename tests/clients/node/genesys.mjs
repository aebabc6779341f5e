/* The Statistics API's own JavaScript client library, unmodified, as a puppet (see harness.mjs). */
import {createRequire} from "node:module";

import {emit, serve} from "./harness.mjs";

const Statistics = createRequire(import.meta.url)("genesys-statistics-client-js");

let statistics = null;

serve({
    open({url, apiKey}) {
        statistics = new Statistics(apiKey, url);
        statistics.on(statistics.SERVICE_CHANGE_EVENT, (data) => emit("service", {data}));
        statistics.on(statistics.UPDATES_EVENT, (data) => emit("updates", {data}));
        const {cometd} = statistics.notifications;
        for (const channel of ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/meta/disconnect"]) {
            cometd.addListener(channel, (message) => emit("meta", {channel, message: {...message, failure: undefined}}));
        }
    },
    /** Resolves after the handshake; a refused one never settles, so the test is told of it by the event `meta`. */
    initialize(token, configuration = {}) {
        statistics.initialize(token, configuration).then(
            () => emit("initialized", {}),
            (fault) => emit("fault", {message: String(fault)}),
        );
    },
    createSubscription: (id, descriptors, verbose = true) => statistics.createSubscription(id, descriptors, verbose),
    peek: (id, ids = [], verbose = true) => statistics.peekSubscriptionStats(id, ids, verbose),
    value: (name, objectId, objectType) => statistics.getStatValue(name, objectId, objectType),
    values: (infos) => statistics.getStatValues(infos),
    deleteSubscription: (id) => statistics.deleteSubscription(id),
    cookies: () => statistics.cookieJar.getCookies({domain: "127.0.0.1", path: "/", secure: false, script: false}).map(String),
    destroy: () => statistics.destroy(),
});
