/* The CometD project's own JavaScript client, as a puppet (see harness.mjs). */
import {CometD} from "cometd";
import {AckExtension} from "cometd/AckExtension.js";
import {TimeSyncExtension} from "cometd/TimeSyncExtension.js";
import {adapt} from "cometd-nodejs-client";
import * as ws from "ws";

import {emit, serve} from "./harness.mjs";

const EXTENSIONS = {ack: AckExtension, timesync: TimeSyncExtension};
const META = ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/meta/disconnect", "/meta/unsuccessful"];

let cometd = null;
let established = false;
const subscriptions = new Map();
const received = [];

/** Keeps the text of each response or frame before the library parses it: only the text shows whether a number came through verbatim. */
function keepTexts(transport) {
    const convert = transport.convertToMessages.bind(transport);
    transport.convertToMessages = (text) => {
        received.push(text);
        return convert(text);
    };
}

/** A message without the library's own transport objects, which hold a socket or a request when it failed. */
function plain({failure, ...message}) {
    return failure ? {...message, failure: {reason: failure.reason, httpCode: failure.httpCode, websocketCode: failure.websocketCode}} : message;
}

const settled = (start) => new Promise((resolve) => start((reply) => resolve(plain(reply))));

const onMessage = (subscription) => (message) => emit("message", {subscription, message});

serve({
    /** `transports` are those that the client may use; `headers` go with each request and with the WebSocket's upgrade. */
    open({url, transports, headers = {}, extensions = [], configuration = {}}) {
        adapt();
        window.WebSocket = class extends ws.WebSocket {
            constructor(address, protocol) {
                super(address, protocol, {headers});
            }
        };
        cometd = new CometD();
        for (const type of cometd.getTransportTypes()) {
            if (!transports.includes(type)) {
                cometd.unregisterTransport(type);
            }
        }
        for (const type of transports) {
            keepTexts(cometd.findTransport(type));
        }
        for (const name of extensions) {
            cometd.registerExtension(name, new EXTENSIONS[name]());
        }
        cometd.configure({url, requestHeaders: headers, logLevel: "warn", backoffIncrement: 200, maxNetworkDelay: 5000, ...configuration});
        for (const channel of META) {
            cometd.addListener(channel, (message) => emit("meta", {channel, message: plain(message)}));
        }
        // the library forgets subscriptions on a new handshake; the manual's advice is to subscribe again in this listener
        cometd.addListener("/meta/handshake", (message) => {
            if (message.successful && established) {
                cometd.batch(() => {
                    for (const [channel, handle] of subscriptions) {
                        subscriptions.set(channel, cometd.resubscribe(handle));
                    }
                });
            }
            established ||= message.successful;
        });
    },
    handshake: (props = {}) => settled((reply) => cometd.handshake(props, reply)),
    subscribe: (channel, props = {}) => settled((reply) => {
        subscriptions.set(channel, cometd.subscribe(channel, onMessage(channel), props, reply));
    }),
    unsubscribe: (channel) => settled((reply) => {
        cometd.unsubscribe(subscriptions.get(channel), reply);
        subscriptions.delete(channel);
    }),
    publish: (channel, data, props = {}) => settled((reply) => cometd.publish(channel, data, props, reply)),
    /** Publishes `pairs` of channel and data in one batch: one request or frame. */
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
    status: () => ({status: cometd.getStatus(), clientId: cometd.getClientId(), transport: cometd.getTransport()?.type ?? null, advice: cometd.getAdvice()}),
    received: () => received.map((text) => (typeof text === "string" ? text : JSON.stringify(text))),
});
