import assert from "node:assert/strict";
import { test } from "node:test";

import { byName, clock, count, duration, percent, plural, UNKNOWN } from "../../../../channels/wallboard/static/format.js";

test("counts are grouped by thousands, and what is unknown is a dash", () => {
  assert.deepEqual([0, 7, 1234567, null, undefined, NaN].map(count), ["0", "7", "1,234,567", UNKNOWN, UNKNOWN, UNKNOWN]);
});

for (const [seconds, text] of [
  [0, "0:00"],
  [7.9, "0:07"],
  [59, "0:59"],
  [60, "1:00"],
  [760, "12:40"],
  [3599, "59:59"],
  [3600, "1:00:00"],
  [3760, "1:02:40"],
  [86399, "23:59:59"],
  [86400, "1d 00h"],
  [187200, "2d 04h"],
  [-3, "0:00"],
  [null, UNKNOWN],
  [Infinity, UNKNOWN],
]) {
  test(`${seconds} seconds read ${text}`, () => assert.equal(duration(seconds), text));
}

test("percentages are whole", () => {
  assert.deepEqual([81.5, 0, 99.4, null].map(percent), ["82", "0", "99", UNKNOWN]);
});

test("a moment reads as the clock on the wall", () => {
  const at = new Date(2026, 2, 4, 9, 5, 7).getTime();
  assert.deepEqual([clock(at), clock(at, false)], ["09:05:07", "09:05"]);
});

test("nouns follow their number", () => {
  assert.deepEqual([plural(0, "queue"), plural(1, "queue"), plural(1200, "queue")], ["0 queues", "1 queue", "1,200 queues"]);
});

test("names are in the order people expect, and never equal unless they are the same", () => {
  assert.deepEqual(["agent10", "b", "agent2", "A"].sort(byName), ["A", "agent2", "agent10", "b"]);
  assert.notEqual(byName("a", "A"), 0);
  assert.equal(byName("A", "a"), -byName("a", "A"));
  assert.equal(byName("a", "a"), 0);
});
