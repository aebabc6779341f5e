import assert from "node:assert/strict";
import { test } from "node:test";

import { plan, QUEUE_STATISTICS, segment, valueChannel } from "../../../../channels/wallboard/static/channels.js";

const many = (number) => Array.from({ length: number }, (_, index) => `Q${index}`);

for (const [id, encoded] of [
  ["abc-_!~()$@+.#=:Z9", "abc-_!~()$@+.#=:Z9"],
  ["a/b", "a%2Fb"],
  ["100%", "100%25"],
  ["it's*", "it%27s%2A"],
  ["Français", "Fran%C3%A7ais"],
  ["<img src=x>", "%3Cimg%20src=x%3E"],
  ["a,b;c?d&e", "a%2Cb%3Bc%3Fd%26e"],
  ["\ud800", "%EF%BF%BD"],
]) {
  test(`${JSON.stringify(id)} is one segment of a channel`, () => assert.equal(segment(id), encoded));
}

test("a value's channel", () => {
  assert.equal(valueChannel("Queue", "A B", "ServiceLevel"), "/statistics/v3/values/Queue/A%20B/ServiceLevel");
});

test("few queues are shown whole", () => {
  const { channels, queues, queueStatistics, left } = plan("All", ["b", "a", "b"]);
  assert.deepEqual([queues, queueStatistics, left], [["a", "b"], [...QUEUE_STATISTICS], 0]);
  assert.equal(channels.length, 1 + 5 + 2 * 7);
  assert.equal(channels[0], "/statistics/v3/service");
  assert.ok(channels.includes("/statistics/v3/values/GroupAgents/All/CurrentGroupState"));
});

for (const [number, statistics, shown, left] of [
  [70, 7, 70, 0],
  [71, 5, 71, 0],
  [98, 5, 98, 0],
  [99, 4, 99, 0],
  [123, 4, 123, 0],
  [124, 2, 124, 0],
  [247, 2, 247, 0],
  [248, 2, 246, 2],
]) {
  test(`${number} queues stay within 500 subscriptions`, () => {
    const chosen = plan("All", many(number));
    assert.ok(chosen.channels.length <= 500, `${chosen.channels.length}`);
    assert.deepEqual([chosen.queueStatistics.length, chosen.queues.length, chosen.left], [statistics, shown, left]);
    assert.equal(new Set(chosen.channels).size, chosen.channels.length);
  });
}

test("where not all queues fit, the totals come from all queues together", () => {
  const { channels } = plan("All", many(300));
  assert.ok(channels.includes("/statistics/v3/values/GroupQueues/All/CurrentInQueue"));
  assert.ok(!plan("All", many(3)).channels.some((channel) => channel.includes("GroupQueues")));
});

test("an id too long for a channel is left out, and counted", () => {
  const { queues, left, channels } = plan("All", ["ok", "x".repeat(250)]);
  assert.deepEqual([queues, left], [["ok"], 1]);
  assert.ok(channels.includes("/statistics/v3/values/GroupQueues/All/CurrentInQueue"));
});

test("a limit below the least leaves the agents", () => {
  assert.deepEqual(plan("All", many(3), 6).queues, []);
});
