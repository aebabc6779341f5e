/* The Statistics API's own JavaScript client library, unmodified, as a puppet (see harness.mjs). It brings CometD's client 3 along. */
import {createRequire} from "node:module";

import {serve} from "./harness.mjs";

const Statistics = createRequire(import.meta.url)("genesys-statistics-client-js");
const META = ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/meta/disconnect"];
const CONFIGURATION = {logLevel: "warn", backoffIncrement: 200};

serve((emit) => {
    let statistics = null;
    let cometd = null;
    let settings = null;
    const subscriptions = new Map();

    const plain = (message) => ({...message, failure: undefined});
    const settled = (start) => new Promise((resolve) => start((reply) => resolve(plain(reply))));

    const onMessage = (channel) => (message) => emit("message", {subscription: channel, message});

    /** Subscribes until there is an answer: a request that got lost in the network is the application's to repeat. */
    function subscribeAgain(channel) {
        const repeat = (reply) => reply.failure && subscribeAgain(channel);
        subscriptions.set(channel, cometd.subscribe(channel, onMessage(channel), {}, repeat));
    }

    return {
        open({url, apiKey, configuration = {}}) {
            settings = {...CONFIGURATION, ...configuration};
            statistics = new Statistics(apiKey, url);
            statistics.on(statistics.SERVICE_CHANGE_EVENT, (data) => emit("service", {data}));
            statistics.on(statistics.UPDATES_EVENT, (data) => emit("updates", {data}));
            cometd = statistics.notifications.cometd;
            for (const channel of META) {
                cometd.addListener(channel, (message) => emit("meta", {channel, message: plain(message)}));
            }
        },
        /** Tells of the handshake by the event `initialized`; a refused one never settles, so the test is told of it by the event `meta`. */
        initialize(token) {
            statistics.initialize(token, settings).then(
                () => emit("initialized", {}),
                (fault) => emit("fault", {message: String(fault)}),
            );
        },
        /** Keeps Bayeux messages, such as the library's own subscribes, from now until `release`. */
        initializeHeld(token) {
            this.initialize(token);
            cometd.startBatch();
        },
        release: () => cometd.endBatch(),
        createSubscription: (id, descriptors, verbose = true) => statistics.createSubscription(id, descriptors, verbose),
        peek: (id, ids = [], verbose = true) => statistics.peekSubscriptionStats(id, ids, verbose),
        value: (name, objectId, objectType) => statistics.getStatValue(name, objectId, objectType),
        values: (infos) => statistics.getStatValues(infos),
        deleteSubscription: (id) => statistics.deleteSubscription(id),
        cookies: () => statistics.cookieJar.getCookies({domain: "127.0.0.1", path: "/", secure: false, script: false}).map(String),
        destroy: () => statistics.destroy(),

        /* what every Bayeux client can do: the library's own CometD client, which applications use for channels of their own */
        handshake({token}) {
            const reply = new Promise((resolve) => {
                const listener = cometd.addListener("/meta/handshake", (message) => {
                    cometd.removeListener(listener);
                    resolve(plain(message));
                });
            });
            this.initialize(token);
            cometd.addListener("/meta/handshake", (message) => {
                if (message.successful) {
                    cometd.batch(() => [...subscriptions.keys()].forEach(subscribeAgain));
                }
            });
            return reply;
        },
        subscribe: (channel) => settled((reply) => {
            subscriptions.set(channel, cometd.subscribe(channel, onMessage(channel), reply));
        }),
        unsubscribe: (channel) => settled((reply) => {
            cometd.unsubscribe(subscriptions.get(channel), reply);
            subscriptions.delete(channel);
        }),
        publish: (channel, data) => settled((reply) => cometd.publish(channel, data, reply)),
        publishBatch: (pairs) => new Promise((resolve) => {
            const replies = [];
            cometd.batch(() => {
                for (const [channel, data] of pairs) {
                    cometd.publish(channel, data, (reply) => {
                        replies.push(plain(reply));
                        if (replies.length === pairs.length) {
                            resolve(replies);
                        }
                    });
                }
            });
        }),
        disconnect: () => settled((reply) => cometd.disconnect(reply)),
        status: () => ({clientId: cometd.getClientId(), transport: cometd.getTransport()?.getType() ?? null}),
        drop: () => statistics?.destroy(),
    };
});
