/*
 * OAuth clients that nobody here wrote, as puppets (see harness.mjs): openid-client, oauth4webapi and simple-oauth2, each with the same
 * commands. The browser's part, from the link of `begin` to the address that `finish` is given, is the test's.
 */
import {createRequire} from "node:module";

import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

import {serve} from "./harness.mjs";

const simple = createRequire(import.meta.url)("simple-oauth2");
// the hubs of tests have no certificates; the name is the library's
const PLAIN = {[oauth.allowInsecureRequests]: true};

/** oauth4webapi: strict by design, and it does nothing by itself. */
function oauth4webapi({issuer, clientId, secret, redirectUri, algorithm}) {
    const client = {client_id: clientId};
    const authentication = secret ? oauth.ClientSecretBasic(secret) : oauth.None();
    let server;
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const nonce = oauth.generateRandomNonce();

    return {
        async discover() {
            const answer = await oauth.discoveryRequest(new URL(issuer), {algorithm, ...PLAIN});
            server = await oauth.processDiscoveryResponse(new URL(issuer), answer);
            return server;
        },
        async begin(scope) {
            const url = new URL(server.authorization_endpoint);
            const challenge = await oauth.calculatePKCECodeChallenge(verifier);
            url.search = new URLSearchParams({
                client_id: clientId, redirect_uri: redirectUri, response_type: "code", scope, state, nonce,
                code_challenge: challenge, code_challenge_method: "S256",
            });
            return url.href;
        },
        async finish(address) {
            const parameters = oauth.validateAuthResponse(server, client, new URL(address), state);
            const answer = await oauth.authorizationCodeGrantRequest(
                server, client, authentication, parameters, redirectUri, verifier, PLAIN);
            const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, {
                expectedNonce: nonce, requireIdToken: true,
            });
            await oauth.validateApplicationLevelSignature(server, answer, PLAIN);
            return {...tokens, claims: oauth.getValidatedIdTokenClaims(tokens)};
        },
        async userinfo(token, subject) {
            const answer = await oauth.userInfoRequest(server, client, token, PLAIN);
            return oauth.processUserInfoResponse(server, client, subject, answer);
        },
        async refresh(token) {
            const answer = await oauth.refreshTokenGrantRequest(server, client, authentication, token, PLAIN);
            return oauth.processRefreshTokenResponse(server, client, answer);
        },
        async byItself(scope) {
            const answer = await oauth.clientCredentialsGrantRequest(server, client, authentication, {scope}, PLAIN);
            return oauth.processClientCredentialsResponse(server, client, answer);
        },
        async introspect(token) {
            const answer = await oauth.introspectionRequest(server, client, authentication, token, PLAIN);
            return oauth.processIntrospectionResponse(server, client, answer);
        },
        async revoke(token) {
            await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, authentication, token, PLAIN));
        },
    };
}

/** openid-client: the usual library of servers and programs. */
function openidClient({issuer, clientId, secret, redirectUri, algorithm}) {
    const authentication = secret ? openid.ClientSecretBasic(secret) : openid.None();
    let config;
    const verifier = openid.randomPKCECodeVerifier();
    const state = openid.randomState();
    const nonce = openid.randomNonce();

    return {
        async discover() {
            config = await openid.discovery(new URL(issuer), clientId, {}, authentication, {
                algorithm, execute: [openid.allowInsecureRequests, openid.enableNonRepudiationChecks],
            });
            return config.serverMetadata();
        },
        begin: async (scope) => openid.buildAuthorizationUrl(config, {
            redirect_uri: redirectUri, scope, state, nonce,
            code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
        }).href,
        async finish(address) {
            const tokens = await openid.authorizationCodeGrant(config, new URL(address), {
                pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true,
            });
            return {...tokens, claims: tokens.claims()};
        },
        userinfo: (token, subject) => openid.fetchUserInfo(config, token, subject),
        refresh: (token) => openid.refreshTokenGrant(config, token),
        byItself: (scope) => openid.clientCredentialsGrant(config, {scope}),
        introspect: (token) => openid.tokenIntrospection(config, token),
        revoke: (token) => openid.tokenRevocation(config, token),
    };
}

/** simple-oauth2: knows no discovery and no PKCE of its own, and insists on JSON wherever it asks. */
function simpleOauth2({issuer, clientId, secret, redirectUri}) {
    const {origin, pathname} = new URL(issuer);
    const auth = {tokenHost: origin, tokenPath: `${pathname}/oauth/token`, revokePath: `${pathname}/oauth/revoke`};
    const authorize = {authorizeHost: origin, authorizePath: `${pathname}/oauth/authorize`};
    const client = {id: clientId, secret};
    const code = new simple.AuthorizationCode({client, auth: {...auth, ...authorize}});
    let last;

    return {
        discover: () => ({}),
        begin: (scope) => code.authorizeURL({redirect_uri: redirectUri, scope, state: "s-1"}),
        async finish(address) {
            const given = new URL(address).searchParams.get("code");
            last = await code.getToken({code: given, redirect_uri: redirectUri});
            return last.token;
        },
        async refresh(token) {
            last = await code.createToken({refresh_token: token}).refresh();
            return last.token;
        },
        async byItself(scope) {
            return (await new simple.ClientCredentials({client, auth}).getToken({scope})).token;
        },
        revoke: (token) => code.createToken({refresh_token: token}).revoke("refresh_token"),
        /** Both tokens, one after the other: the second is gone by then. */
        revokeAll: () => last.revokeAll(),
    };
}

const LIBRARIES = {oauth4webapi, "openid-client": openidClient, "simple-oauth2": simpleOauth2};

serve(() => {
    let library;
    const through = (name) => (...args) => library[name](...args);
    const commands = ["discover", "begin", "finish", "userinfo", "refresh", "byItself", "introspect", "revoke", "revokeAll"];
    return {
        open({library: name, ...options}) {
            library = LIBRARIES[name](options);
        },
        drop: () => null,
        ...Object.fromEntries(commands.map((each) => [each, through(each)])),
    };
});
