/* Faye's client as a puppet (see harness.mjs). */
import faye from "faye";

import {serve} from "./harness.mjs";

const RETRY_S = 0.2;

serve((emit) => {
    let client = null;
    let authentication = null;
    let handshaken = null;
    const subscriptions = new Map();

    /** A reply in Bayeux's form, of the promise that the library gives. */
    const settled = (promise) => promise.then(
        () => ({successful: true}),
        ({code, params, message}) => ({successful: false, error: `${code}:${params.join(",")}:${message}`}),
    );

    return {
        open({url, transports}) {
            client = new faye.Client(url, {retry: RETRY_S});
            // long-polling is what every Bayeux client must have: the library shakes hands over it
            if (!transports.includes("websocket")) {
                client.disable("websocket");
            }
            client.addExtension({
                outgoing(message, pass) {
                    if (authentication && message.channel === "/meta/handshake") {
                        message.ext = {...message.ext, authentication};
                    }
                    pass(message);
                },
                incoming(message, pass) {
                    if (message.channel?.startsWith("/meta/")) {
                        emit("meta", {channel: message.channel, message});
                    }
                    if (message.channel === "/meta/handshake") {
                        handshaken?.(message);
                    }
                    pass(message);
                },
            });
        },
        handshake: (credentials = null) => new Promise((resolve) => {
            authentication = credentials;
            handshaken = resolve;
            client.connect();
        }),
        subscribe: (channel) => {
            const subscription = client.subscribe(channel);
            subscription.withChannel((name, data) => emit("message", {subscription: channel, message: {channel: name, data}}));
            subscriptions.set(channel, subscription);
            return settled(subscription);
        },
        /** The library tells nobody that an unsubscribe was answered. */
        unsubscribe: (channel) => new Promise((resolve) => {
            const reply = {
                incoming(message, pass) {
                    pass(message);
                    if (message.channel === "/meta/unsubscribe" && message.subscription === channel) {
                        client.removeExtension(reply);
                        resolve(message);
                    }
                },
            };
            client.addExtension(reply);
            subscriptions.get(channel).cancel();
        }),
        publish: (channel, data) => settled(client.publish(channel, data)),
        /** The library sends what is published in one turn in one request over HTTP, up to 2 KiB, and in a frame each on WebSocket. */
        publishBatch: (pairs) => Promise.all(pairs.map(([channel, data]) => settled(client.publish(channel, data)))),
        disconnect: () => settled(client.disconnect()),
        status: () => ({clientId: client._dispatcher.clientId, transport: client._dispatcher.connectionType}),
        drop: () => {
            client?.disconnect();
        },
    };
});
