/* The CometD project's own JavaScript client, versions 8 and 9, as puppets (see harness.mjs). Each is like a browser of its own. */
import {adapt} from "cometd-nodejs-client";
import * as ws from "ws";

import {serve} from "./harness.mjs";

const META = ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/meta/disconnect", "/meta/unsuccessful"];
const CONFIGURATION = {logLevel: "warn", backoffIncrement: 200, maxNetworkDelay: 5000};

/* Node.js has one window for all clients: what tells them apart is the transport's context over HTTP, the end of the URL on WebSocket. */
const jarOf = new WeakMap();
const clientOf = new Map();

/** Puts the cookie of a Set-Cookie header into a jar, a Map of name to `name=value`. */
function keepCookie(jar, header) {
    const [cookie] = header.split(";");
    jar.set(cookie.split("=")[0], cookie);
}

adapt({
    cookies: {
        // the adapter hands over the same URL object when it sends a request and when it has the response
        retrieveCookies(context, url, done) {
            jarOf.set(url, context.jar);
            done(null, [...context.jar.values()]);
        },
        storeCookie(url, header, done) {
            keepCookie(jarOf.get(url), header);
            done();
        },
    },
});
window.WebSocket = class extends ws.WebSocket {
    constructor(address, protocol) {
        const {jar, headers} = clientOf.get(address);
        super(address, protocol, {headers: {...headers, ...(jar.size > 0 ? {Cookie: [...jar.values()].join("; ")} : {})}});
        this.on("upgrade", (response) => (response.headers["set-cookie"] ?? []).forEach((header) => keepCookie(jar, header)));
    }
};

/** Hands each response or frame to `keep` before the library parses it: only the text shows whether a number came through verbatim. */
function keepTexts(transport, keep) {
    const convert = transport.convertToMessages.bind(transport);
    transport.convertToMessages = (text) => {
        keep(text);
        return convert(text);
    };
}

/** A message without the library's own transport objects, which hold a socket or a request when it failed. */
function plain({failure, ...message}) {
    return failure ? {...message, failure: {reason: failure.reason, httpCode: failure.httpCode, websocketCode: failure.websocketCode}} : message;
}

/** Salesforce's replay extension, as its users write it: `positions` has the last position of each channel, or -1, -2. */
class Replay {
    constructor(positions) {
        this.positions = positions;
    }

    outgoing(message) {
        const replay = {"/meta/handshake": true, "/meta/subscribe": this.positions}[message.channel];
        if (replay) {
            message.ext = {...message.ext, replay};
        }
        return message;
    }

    incoming(message) {
        const position = message.data?.event?.replayId;
        for (const pattern of Object.keys(this.positions)) {
            if (position && (pattern === message.channel || message.channel.startsWith(pattern.replace("**", "")))) {
                this.positions[pattern] = position;
            }
        }
        return message;
    }
}

const settled = (start) => new Promise((resolve) => start((reply) => resolve(plain(reply))));

serve((emit) => {
    let cometd = null;
    let established = false;
    const subscriptions = new Map();
    const received = [];
    const onMessage = (subscription) => (message) => emit("message", {subscription, message});

    /** Subscribes until there is an answer: a request that got lost in the network is the application's to repeat. */
    function subscribeAgain(channel) {
        const repeat = (reply) => reply.failure && subscribeAgain(channel);
        subscriptions.set(channel, cometd.subscribe(channel, onMessage(channel), {}, repeat));
    }

    return {
        /** `library` is the npm package; `transports` are those that the client may use; `headers` go with each request and upgrade. */
        async open({url, library = "cometd", transports, headers = {}, extensions = [], replay = null, configuration = {}}) {
            const {CometD} = await import(library);
            cometd = new CometD();
            for (const type of cometd.getTransportTypes()) {
                if (!transports.includes(type)) {
                    cometd.unregisterTransport(type);
                }
            }
            const jar = new Map();
            for (const type of transports) {
                const transport = cometd.findTransport(type);
                transport.context = {jar};
                keepTexts(transport, (text) => received.push(text));
            }
            for (const name of extensions) {
                const module = await import(`${library}/${name}.js`);
                cometd.registerExtension(name, new module[name]());
            }
            if (replay) {
                cometd.registerExtension("replay", new Replay(replay));
            }
            const urls = {websocket: `${url}/${crypto.randomUUID()}`};
            clientOf.set(urls.websocket.replace(/^http/, "ws"), {jar, headers});
            cometd.configure({url, urls, requestHeaders: headers, ...CONFIGURATION, ...configuration});
            for (const channel of META) {
                cometd.addListener(channel, (message) => emit("meta", {channel, message: plain(message)}));
            }
            // the library forgets subscriptions on a new handshake; the manual's advice is to subscribe again in this listener
            cometd.addListener("/meta/handshake", (message) => {
                if (message.successful && established) {
                    cometd.batch(() => [...subscriptions.keys()].forEach(subscribeAgain));
                }
                established ||= message.successful;
            });
        },
        handshake: (authentication = null) =>
            settled((reply) => cometd.handshake(authentication ? {ext: {authentication}} : {}, reply)),
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
        status: () => ({
            status: cometd.getStatus(),
            clientId: cometd.getClientId(),
            transport: cometd.getTransport()?.type ?? null,
            advice: cometd.getAdvice(),
        }),
        timesync: () => {
            const extension = cometd.getExtension("TimeSyncExtension");
            return {offset: extension.getTimeOffset(), lag: extension.getNetworkLag()};
        },
        received: () => received.map((text) => (typeof text === "string" ? text : JSON.stringify(text))),
        drop: () => cometd?.disconnect(),
    };
});
