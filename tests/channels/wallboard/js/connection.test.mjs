import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Connection } from "../../../../channels/wallboard/static/connection.js";

/** The other end of a WebSocket. */
class FakeSocket {
  static all = [];

  constructor(url) {
    this.url = url;
    this.readyState = 1;
    this.sent = [];
    this.closed = null;
    FakeSocket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed = code;
  }

  says(...messages) {
    this.onmessage?.({ data: JSON.stringify(messages) });
  }

  welcome() {
    this.says({ type: "welcome", session: "s", heartbeat: 25 });
  }

  drops(code) {
    this.onclose?.({ code });
  }
}

let events;
let states;
let link;
const last = () => FakeSocket.all.at(-1);
const sent = (type) => last().sent.filter((message) => message.type === type);

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(console, "warn", () => {});
  mock.method(console, "error", () => {});
  FakeSocket.all = [];
  events = [];
  states = [];
  link = new Connection({
    url: "ws://hub/ws",
    onEvent: (channel, data) => events.push([channel, data]),
    onState: (state) => states.push(state),
    socket: FakeSocket,
    random: () => 1,
  });
});

afterEach(() => {
  link.stop();
  mock.timers.reset();
  mock.restoreAll();
});

test("subscribes when it is welcome, not before", () => {
  link.listen(["/a", "/b"]);
  link.start();
  assert.deepEqual(last().sent, []);
  last().welcome();
  assert.deepEqual(last().sent, [{ type: "subscribe", id: 1, channels: ["/a", "/b"] }]);
  assert.deepEqual(states.map(({ phase }) => phase), ["connecting", "live"]);
});

test("hands on events, several in a frame, one alone", () => {
  link.start();
  last().welcome();
  last().says({ type: "event", channel: "/a", data: 1 }, { type: "event", channel: "/b", data: { x: 2 } }, { type: "pong" }, null);
  last().onmessage({ data: '{"type":"event","channel":"/c","data":3}' });
  assert.deepEqual(events, [["/a", 1], ["/b", { x: 2 }], ["/c", 3]]);
});

test("many channels go in several messages", () => {
  link.listen(Array.from({ length: 120 }, (_, index) => `/c${index}`));
  link.start();
  last().welcome();
  assert.deepEqual(sent("subscribe").map(({ channels }) => channels.length), [50, 50, 20]);
});

test("asks only for what changed", () => {
  link.listen(["/a", "/b"]);
  link.start();
  last().welcome();
  link.listen(["/b", "/c"]);
  assert.deepEqual(last().sent.slice(1), [
    { type: "unsubscribe", id: 2, channels: ["/a"] },
    { type: "subscribe", id: 3, channels: ["/c"] },
  ]);
});

test("a channel that is refused does not take the others with it", () => {
  link.listen(["/a", "/bad", "/c"]);
  link.start();
  last().welcome();
  last().says({ type: "error", id: 1, code: 403, message: "no", channel: "/bad" });
  assert.deepEqual(sent("subscribe").at(-1).channels, ["/a", "/c"]);
});

test("where the refused channel is not named, it is searched for by halves", () => {
  link.listen(["/a", "/b", "/bad"]);
  link.start();
  last().welcome();
  const answer = ({ id, channels }) =>
    last().says(channels.includes("/bad") ? { type: "error", id, code: 400, message: "no" } : { type: "subscribed", id, channels: [] });
  for (let at = 0; at < last().sent.length; at += 1) answer(last().sent[at]);
  assert.deepEqual(sent("subscribe").map(({ channels }) => channels), [["/a", "/b", "/bad"], ["/a", "/b"], ["/bad"]]);
});

test("an error about nothing that was asked is only told", () => {
  link.start();
  last().welcome();
  last().says({ type: "error", code: 400, message: "x" }, { type: "error", id: 99, code: 400, message: "x" });
  assert.equal(console.warn.mock.callCount(), 2);
  assert.deepEqual(last().sent, []);
});

test("comes back after a loss and subscribes again, also to what was refused", () => {
  link.listen(["/a", "/bad"]);
  link.start();
  last().welcome();
  last().says({ type: "error", id: 1, code: 403, message: "no", channel: "/bad" });
  last().drops(1006);
  assert.deepEqual(states.at(-1), { phase: "waiting", code: 1006, retryAt: 1_001_000 });
  mock.timers.tick(1000);
  assert.equal(FakeSocket.all.length, 2);
  last().welcome();
  assert.deepEqual(last().sent.map(({ channels }) => channels), [["/a", "/bad"]]);
});

test("waits longer each time, up to half a minute, and begins anew after a good connection", () => {
  link.start();
  const delays = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    last().drops(1006);
    delays.push(states.at(-1).retryAt - Date.now());
    mock.timers.tick(delays.at(-1));
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  last().welcome();
  mock.timers.tick(10_000);
  last().drops(1006);
  assert.equal(states.at(-1).retryAt - Date.now(), 1000);
});

test("a connection that breaks at once does not begin anew", () => {
  link.start();
  last().drops(1006);
  mock.timers.tick(1000);
  last().welcome();
  last().drops(1006);
  assert.equal(states.at(-1).retryAt - Date.now(), 2000);
});

test("half of the wait is chance", () => {
  const lucky = new Connection({ url: "", onEvent() {}, onState: (state) => states.push(state), socket: FakeSocket, random: () => 0 });
  lucky.start();
  last().drops(1006);
  assert.equal(states.at(-1).retryAt - Date.now(), 500);
  lucky.stop();
});

test("a hub that restarts is back soon, one that is overrun later", () => {
  link.start();
  last().drops(1012);
  assert.equal(states.at(-1).retryAt - Date.now(), 400);
  link.stop();
  link.start();
  last().drops(4429);
  assert.equal(states.at(-1).retryAt - Date.now(), 10_000);
});

for (const code of [4401, 4403]) {
  test(`${code} is the end until somebody starts again`, () => {
    link.start();
    last().drops(code);
    assert.deepEqual(states.at(-1), { phase: "refused", code });
    mock.timers.tick(3_600_000);
    assert.equal(FakeSocket.all.length, 1);
    link.start();
    assert.equal(FakeSocket.all.length, 2);
  });
}

test("asks a silent hub for a sign of life, and takes a dead line for lost", () => {
  link.start();
  last().welcome();
  mock.timers.tick(4_000);
  assert.deepEqual(sent("ping"), [{ type: "ping", id: 1 }]);
  last().says({ type: "pong", id: 1 });
  mock.timers.tick(4_000);
  assert.equal(sent("ping").length, 2);
  const dead = last();
  mock.timers.tick(4_000);
  mock.timers.tick(6_000);
  assert.deepEqual(states.map(({ phase }) => phase), ["connecting", "live", "silent", "waiting"]);
  assert.equal(dead.closed, 1000);
  assert.equal(dead.onmessage, null);
});

test("says within 10 seconds that a hub hangs, and that it is well again when it speaks", () => {
  link.start();
  last().welcome();
  mock.timers.tick(3_999);
  last().says({ type: "event", channel: "/a", data: 1 });
  mock.timers.tick(4_000);
  mock.timers.tick(3_999);
  assert.equal(states.at(-1).phase, "live");
  mock.timers.tick(1);
  assert.equal(states.at(-1).phase, "silent");
  last().says({ type: "event", channel: "/a", data: 2 });
  assert.equal(states.at(-1).phase, "live");
  assert.equal(FakeSocket.all.length, 1);
  mock.timers.tick(4_000);
  mock.timers.tick(4_000);
  assert.equal(states.at(-1).phase, "silent");
});

test("a connection that was silent and lost begins anew", () => {
  link.start();
  last().welcome();
  mock.timers.tick(4_000);
  mock.timers.tick(4_000);
  assert.equal(states.at(-1).phase, "silent");
  last().drops(1006);
  mock.timers.tick(30_000);
  last().welcome();
  assert.deepEqual(states.slice(-2).map(({ phase }) => phase), ["connecting", "live"]);
});

test("a hub that never welcomes is left", () => {
  link.start();
  last().says({ type: "pong" });
  mock.timers.tick(15_000);
  assert.equal(states.at(-1).phase, "waiting");
});

test("the heartbeat is the hub's", () => {
  link.start();
  last().says({ type: "welcome", session: "s", heartbeat: 3 });
  mock.timers.tick(3000);
  assert.equal(sent("ping").length, 1);
});

test("a welcome without a heartbeat has the usual one", () => {
  link.start();
  last().says({ type: "welcome", session: "s" });
  mock.timers.tick(3_999);
  assert.equal(sent("ping").length, 0);
});

test("a frame that is not JSON is the end of that connection", () => {
  link.start();
  last().onmessage({ data: "<html>" });
  assert.deepEqual([console.error.mock.callCount(), states.at(-1).phase], [1, "waiting"]);
});

test("hurry connects at once when it waits, and only then", () => {
  link.hurry();
  assert.equal(FakeSocket.all.length, 0);
  link.start();
  link.hurry();
  assert.equal(FakeSocket.all.length, 1);
  last().drops(1006);
  link.hurry();
  assert.equal(FakeSocket.all.length, 2);
  mock.timers.tick(5_000);
  assert.equal(FakeSocket.all.length, 2);
});

test("stop is stop, whatever comes after", () => {
  link.start();
  const socket = last();
  link.stop();
  socket.says({ type: "event", channel: "/a", data: 1 });
  socket.drops(1006);
  mock.timers.tick(60_000);
  assert.deepEqual([events, FakeSocket.all.length, states.at(-1)], [[], 1, { phase: "stopped" }]);
});

test("starting twice is starting once", () => {
  link.start();
  link.start();
  assert.equal(FakeSocket.all.length, 1);
});

test("nothing is sent on a socket that is closing", () => {
  link.start();
  last().welcome();
  last().readyState = 2;
  link.listen(["/a"]);
  assert.deepEqual(last().sent, []);
});
