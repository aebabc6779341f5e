/* Amazon's JavaScript client of the Participant service, unmodified, as a puppet (see harness.mjs). */
import * as sdk from "@aws-sdk/client-connectparticipant";

import {serve} from "./harness.mjs";

serve(() => {
    let client = null;
    return {
        open({url}) {
            const credentials = {accessKeyId: "unused", secretAccessKey: "unused"};
            client = new sdk.ConnectParticipantClient({endpoint: url, region: "us-east-1", credentials, maxAttempts: 1});
        },
        /** Makes a call; a refusal is told as what an application sees of it. */
        async call(name, input) {
            try {
                const {$metadata, ...answer} = await client.send(new sdk[`${name}Command`](input));
                return {status: $metadata.httpStatusCode, answer};
            } catch (fault) {
                return {status: fault.$metadata?.httpStatusCode, name: fault.name, message: fault.message};
            }
        },
        /** Sends the bytes of a file as a page would. */
        async put({url, headers, text}) {
            return (await fetch(url, {method: "PUT", headers, body: text})).status;
        },
        drop: () => client.destroy(),
    };
});
