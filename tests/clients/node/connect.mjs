/*
 * Amazon's client for Connect as a puppet: its calls for attached files and chats, with its own retries and signatures; and what it sends, as it
 * arrives at a server that answers nothing but `{}`.
 */
import {createServer} from "node:http";

import {
    BatchGetAttachedFileMetadataCommand,
    CompleteAttachedFileUploadCommand,
    ConnectClient,
    DeleteAttachedFileCommand,
    GetAttachedFileCommand,
    StartAttachedFileUploadCommand,
    StartChatContactCommand,
} from "@aws-sdk/client-connect";

import {serve} from "./harness.mjs";

const COMMANDS = {
    start: StartAttachedFileUploadCommand,
    complete: CompleteAttachedFileUploadCommand,
    get: GetAttachedFileCommand,
    batch: BatchGetAttachedFileMetadataCommand,
    delete: DeleteAttachedFileCommand,
    chat: StartChatContactCommand,
};

function connect(endpoint, accessKeyId, secretAccessKey, sessionToken) {
    const credentials = {accessKeyId, secretAccessKey, ...(sessionToken ? {sessionToken} : {})};
    return new ConnectClient({endpoint, region: "eu-central-1", credentials});
}

/** A server that keeps what arrives: method, target, header lines in their order, and the body in base64. */
async function recorder() {
    const seen = [];
    const server = createServer(async (request, response) => {
        const pieces = [];
        for await (const piece of request) {
            pieces.push(piece);
        }
        const {method, url, rawHeaders} = request;
        seen.push({method, url, headers: rawHeaders, body: Buffer.concat(pieces).toString("base64")});
        response.writeHead(200, {"content-type": "application/json"});
        response.end("{}");
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    return {seen, server, url: `http://127.0.0.1:${server.address().port}`};
}

serve(() => {
    let client;
    return {
        open(...how) {
            client = connect(...how);
        },
        async send(name, input) {
            try {
                const {$metadata, ...output} = await client.send(new COMMANDS[name](input));
                return {output, requestId: $metadata.requestId};
            } catch (fault) {
                const {name: kind, message, $metadata = {}, Reason: reason} = fault;
                return {
                    error: {
                        kind,
                        message,
                        reason,
                        status: $metadata.httpStatusCode,
                        attempts: $metadata.attempts,
                        requestId: $metadata.requestId,
                        known: fault.$fault !== undefined && fault.constructor.name === kind,
                    },
                };
            }
        },
        /** Sends calls, each `[name, input]`, to a recorder at a base URL that ends in `path`; returns what arrived. */
        async recorded(path, accessKeyId, secretAccessKey, sessionToken, calls) {
            const {seen, server, url} = await recorder();
            try {
                const sender = connect(`${url}${path}`, accessKeyId, secretAccessKey, sessionToken);
                for (const [name, input] of calls) {
                    await sender.send(new COMMANDS[name](input));
                }
                sender.destroy();
                return seen;
            } finally {
                server.close();
                server.closeAllConnections();
            }
        },
    };
});
