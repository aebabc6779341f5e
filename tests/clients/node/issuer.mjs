/*
 * An identity provider that nobody here wrote, npm's oidc-provider, as a puppet (see harness.mjs): it gives programs JSON Web Tokens for the
 * hub, as its audience, and publishes its keys.
 */
import {createServer} from "node:http";

import {exportJWK, generateKeyPair} from "jose";
import {Provider} from "oidc-provider";

import {serve} from "./harness.mjs";

const ALGORITHMS = ["RS256", "PS256", "ES256"];
const CLIENTS = {night: ["team-leads"], leaver: ["team-leads"], eve: []};

async function keyFor(alg) {
    const {privateKey} = await generateKeyPair(alg, {extractable: true});
    return {...await exportJWK(privateKey), alg, use: "sig", kid: `${alg}-1`};
}

serve(() => {
    let server = null;
    let issuer = "";
    let algorithm = "RS256";
    return {
        /** Starts the provider for one audience; resolves to its name. */
        async open({audience}) {
            server = createServer();
            await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
            issuer = `http://127.0.0.1:${server.address().port}`;
            const provider = new Provider(issuer, {
                clients: Object.keys(CLIENTS).map((id) => ({
                    client_id: id, client_secret: `secret of ${id}`, grant_types: ["client_credentials"],
                    redirect_uris: [], response_types: [], token_endpoint_auth_method: "client_secret_post",
                })),
                jwks: {keys: await Promise.all(ALGORITHMS.map(keyFor))},
                features: {
                    clientCredentials: {enabled: true},
                    devInteractions: {enabled: false},
                    resourceIndicators: {
                        enabled: true,
                        getResourceServerInfo: (context, resource) => ({
                            scope: "hub", audience: resource, accessTokenFormat: "jwt", accessTokenTTL: 300, jwt: {sign: {alg: algorithm}},
                        }),
                    },
                },
                extraTokenClaims: (context, token) => ({roles: CLIENTS[token.clientId]}),
            });
            server.on("request", provider.callback());
            return issuer;
        },
        /** A token of a program for a resource, signed in one way. */
        async token(client, resource, alg) {
            algorithm = alg;
            const answer = await fetch(`${issuer}/token`, {
                method: "POST",
                body: new URLSearchParams({
                    grant_type: "client_credentials", client_id: client, client_secret: `secret of ${client}`, resource, scope: "hub",
                }),
            });
            const body = await answer.json();
            if (!answer.ok) {
                throw new Error(JSON.stringify(body));
            }
            return body.access_token;
        },
        drop: () => new Promise((resolve) => {
            server.closeAllConnections();
            server.close(resolve);
        }),
    };
});
