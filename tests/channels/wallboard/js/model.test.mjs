import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../../../channels/wallboard/static/clock.js";
import { Board, longestWait } from "../../../../channels/wallboard/static/model.js";
import { classify, GROUPS, rank } from "../../../../channels/wallboard/static/states.js";
import { levelOfService, levelOfWait } from "../../../../channels/wallboard/static/thresholds.js";

const T = 1_700_000_000_000;

function value(objectType, objectId, name, figure, timestamp = T) {
  const shown = typeof figure === "object" && figure !== null ? figure : { intValue: figure, stringValue: String(figure) };
  return { name, objectId, objectType, value: shown, timestamp };
}

function boardWith(...queues) {
  const board = new Board();
  board.setQueues(queues, true);
  return board;
}

function groupState(...agents) {
  return value("GroupAgents", "All", "CurrentGroupState", { stateValue: { groupId: "All", agents } });
}

const agent = (agentId, statusName, time = 1000, more = {}) => ({ agentId, statusName, status: 0, time, ...more });

test("figures of a queue", () => {
  const board = boardWith("A");
  const figures = { CurrentInQueue: 3, TotalAnswered: 90, TotalAbandoned: 4, CallsEntered: 97, AverageWaitingTime: 21 };
  for (const [name, figure] of Object.entries(figures)) assert.equal(board.apply(value("Queue", "A", name, figure), T), true);
  board.apply(value("Queue", "A", "ServiceLevel", { intValue: 82, floatValue: 81.5 }), T);
  const { waiting, answered, abandoned, entered, averageWait, serviceLevel } = board.queues.get("A");
  assert.deepEqual([waiting, answered, abandoned, entered, averageWait, serviceLevel], [3, 90, 4, 97, 21, 81.5]);
});

for (const [what, data] of [
  ["nothing", null],
  ["a text", "x"],
  ["a list", []],
  ["no value", { name: "CurrentInQueue", objectId: "A", objectType: "Queue" }],
  ["an id that is no text", { ...value("Queue", "A", "CurrentInQueue", 1), objectId: 7 }],
  ["a queue not on show", value("Queue", "Z", "CurrentInQueue", 1)],
  ["another statistic of a queue", value("Queue", "A", "Other", 1)],
  ["another statistic of a group", value("GroupAgents", "All", "Other", 1)],
  ["another group", value("GroupAgents", "Sales", "CurrentReadyAgents", 1)],
  ["another type", value("Agent", "A", "CurrentInQueue", 1)],
  ["a group of queues that is not all", value("GroupQueues", "Some", "CurrentInQueue", 1)],
  ["a group state without agents", value("GroupAgents", "All", "CurrentGroupState", { stateValue: {} })],
  ["a group state without state", value("GroupAgents", "All", "CurrentGroupState", 1)],
  ["a service change without a state", { name: "ServiceStateChange", data: {} }],
]) {
  test(`${what} is not understood and changes nothing`, () => {
    const board = boardWith("A");
    assert.equal(board.apply(data, T), false);
    assert.equal(board.updatedAt, null);
    assert.equal(board.queues.get("A").waiting, null);
  });
}

test("a wait begins when the first caller comes and runs on by itself", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CurrentInQueue", 0), T);
  assert.equal(longestWait(board.queues.get("A"), T + 5000), 0);
  board.apply(value("Queue", "A", "CurrentInQueue", 1, T + 5000), T + 5000);
  board.apply(value("Queue", "A", "CurrentInQueue", 2, T + 9000), T + 9000);
  assert.equal(longestWait(board.queues.get("A"), T + 17_999), 12);
});

test("the server's longest wait wins, whichever of the two values comes first", () => {
  for (const order of [
    [["CurrentInQueue", 2], ["CurrMaxCallWaitingTime", 45]],
    [["CurrMaxCallWaitingTime", 45], ["CurrentInQueue", 2]],
  ]) {
    const board = boardWith("A");
    for (const [name, figure] of order) board.apply(value("Queue", "A", name, figure), T);
    assert.equal(longestWait(board.queues.get("A"), T + 1000), 46);
  }
});

test("whole seconds do not make the running wait jump", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CurrentInQueue", 1, T), T);
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", 9, T + 10_000), T);
  assert.equal(board.queues.get("A").waitingSince, T);
});

test("when the longest waiting caller leaves, the next one counts", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CurrentInQueue", 2, T), T);
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", 4, T + 30_000), T);
  assert.equal(longestWait(board.queues.get("A"), T + 30_000), 4);
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", 0, T + 40_000), T);
  assert.equal(longestWait(board.queues.get("A"), T + 40_000), 0);
});

test("an empty queue has no wait, even when the longest wait still says so", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", 0), T);
  assert.equal(longestWait(board.queues.get("A"), T), null);
  board.apply(value("Queue", "A", "CurrentInQueue", 2), T);
  board.apply(value("Queue", "A", "CurrentInQueue", 0), T);
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", 50), T);
  board.apply(value("Queue", "A", "CurrMaxCallWaitingTime", { stringValue: "?" }), T);
  assert.equal(longestWait(board.queues.get("A"), T), 0);
});

test("totals are sums, the longest wait with its queue, and a service level weighted by calls", () => {
  const board = boardWith("A", "B", "C");
  const rows = [["A", 2, 60, 100, 90], ["B", 1, 75, 300, 70], ["C", 0, 0, 0, 0]];
  for (const [id, waiting, wait, entered, level] of rows) {
    board.apply(value("Queue", id, "CurrentInQueue", waiting), T);
    board.apply(value("Queue", id, "CurrMaxCallWaitingTime", wait), T);
    board.apply(value("Queue", id, "CallsEntered", entered), T);
    board.apply(value("Queue", id, "ServiceLevel", level), T);
  }
  const totals = board.totals(T);
  assert.deepEqual([totals.waiting, totals.queuesWaiting, totals.longestWait, totals.longestQueue, totals.serviceLevel], [3, 2, 75, "B", 75]);
});

test("what is not known yet is not zero", () => {
  const totals = boardWith("A").totals(T);
  assert.deepEqual(
    [totals.waiting, totals.longestWait, totals.serviceLevel, totals.loggedIn, totals.ready, totals.inCall, totals.notReady],
    [null, null, null, null, null, null, null],
  );
});

test("without a call there is no service level", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CallsEntered", 0), T);
  board.apply(value("Queue", "A", "ServiceLevel", 0), T);
  assert.equal(board.totals(T).serviceLevel, null);
});

test("a figure of nothing is no figure, whatever number comes with it", () => {
  const board = boardWith("A");
  board.apply(value("Queue", "A", "CallsEntered", 1), T);
  for (const name of ["ServiceLevel", "AverageWaitingTime"]) {
    board.apply(value("Queue", "A", name, 0), T);
    board.apply({ ...value("Queue", "A", name, 0), empty: true }, T);
  }
  const { serviceLevel, averageWait } = board.queues.get("A");
  assert.deepEqual([serviceLevel, averageWait, board.totals(T).serviceLevel], [null, null, null]);
  assert.equal(board.updatedAt, T);
});

test("the service level of all queues goes by the calls that it is a share of", () => {
  const board = boardWith("A", "B");
  for (const [id, entered, answered, abandoned, level] of [["A", 0, 90, 10, 80], ["B", 500, 200, 100, 60]]) {
    board.apply(value("Queue", id, "CallsEntered", entered), T);
    board.apply(value("Queue", id, "TotalAnswered", answered), T);
    board.apply(value("Queue", id, "TotalAbandoned", abandoned), T);
    board.apply(value("Queue", id, "ServiceLevel", level), T);
  }
  assert.equal(board.totals(T).serviceLevel, 65);
});

test("where not all queues are on show, the totals are those of all queues together", () => {
  const board = new Board();
  board.setQueues(["A"], false);
  board.apply(value("Queue", "A", "CurrentInQueue", 1), T);
  board.apply(value("GroupQueues", "All", "CurrentInQueue", 40), T);
  board.apply(value("GroupQueues", "All", "CurrMaxCallWaitingTime", 99), T);
  const totals = board.totals(T);
  assert.deepEqual([totals.waiting, totals.longestWait, totals.longestQueue], [40, 99, ""]);
});

test("queues that stay keep their figures, others come and go, in the order of names", () => {
  const board = boardWith("B", "A");
  board.apply(value("Queue", "B", "CurrentInQueue", 5), T);
  board.setQueues(["C", "B"], true);
  assert.deepEqual([...board.queues.keys()], ["B", "C"]);
  assert.equal(board.queues.get("B").waiting, 5);
});

test("agents with state, kind of call, reason, place and time", () => {
  const board = new Board();
  const reasons = { dnStatuses: [{ actions: [{ action: "LoggedIn", reasons: { r: "no" } }, { action: "NotReadyForNextCall", reasons: { r: "Lunch" } }] }] };
  board.apply(
    groupState(
      agent("a", "WaitForNextCall", 1000, { place: { placeId: "P1" } }),
      agent("b", "CallConsult", 2000),
      agent("c", "NotReadyForNextCall", 3000, { place: reasons }),
      agent("d", "NotReadyForNextCall", 3000, { place: { dnStatuses: [{ actions: [{ action: "NotReadyForNextCall", reasons: {} }] }, 7] } }),
      agent("e", "BrandNewStatus"),
      { agentId: 7, statusName: "WaitForNextCall" },
      null,
    ),
    T,
  );
  const shown = [...board.agents.values()].map(({ id, group, detail, place, since }) => [id, group, detail, place, since]);
  assert.deepEqual(shown, [
    ["a", "ready", "", "P1", 1_000_000],
    ["b", "call", "Consult", "", 2_000_000],
    ["c", "notready", "Lunch", "", 3_000_000],
    ["d", "notready", "", "", 3_000_000],
    ["e", "other", "BrandNewStatus", "", 1_000_000],
  ]);
});

test("an agent who left the group is gone", () => {
  const board = new Board();
  board.apply(groupState(agent("a", "WaitForNextCall"), agent("b", "WaitForNextCall")), T);
  board.apply(groupState(agent("b", "WaitForNextCall")), T);
  assert.deepEqual([...board.agents.keys()], ["b"]);
});

test("agents by state, by name and by time", () => {
  const board = new Board();
  board.apply(
    groupState(agent("z", "WaitForNextCall", 5), agent("y", "WaitForNextCall", 4), agent("x", "CallInbound", 1), agent("w", "LoggedOut", 0)),
    T,
  );
  const ids = (order, out) => board.listAgents(order, out).map(({ id }) => id);
  assert.deepEqual(ids("state", false), ["y", "z", "x"]);
  assert.deepEqual(ids("name", true), ["w", "x", "y", "z"]);
  assert.deepEqual(ids("time", false), ["x", "y", "z"]);
  assert.deepEqual(ids("state", true), ["y", "z", "x", "w"]);
});

test("counts come from their statistics, and until those are known from the list", () => {
  const board = new Board();
  board.apply(groupState(agent("a", "CallOnHold"), agent("b", "CallInbound"), agent("c", "NotReadyForNextCall"), agent("d", "LoggedOut")), T);
  const counts = () => (({ loggedIn, ready, inCall, notReady }) => [loggedIn, ready, inCall, notReady])(board.totals(T));
  assert.deepEqual(counts(), [3, 0, 2, 1]);
  board.apply(value("GroupAgents", "All", "CurrentLoggedInAgents", 9), T);
  board.apply(value("GroupAgents", "All", "CurrentNumberInCall", 8), T);
  assert.deepEqual(counts(), [9, 0, 8, 1]);
  assert.deepEqual([...board.distribution()], [["hold", 1], ["call", 1], ["notready", 1], ["out", 1]]);
});

test("another group starts empty; the same group stays", () => {
  const board = new Board();
  board.apply(groupState(agent("a", "WaitForNextCall")), T);
  board.setGroup("All");
  assert.equal(board.agents.size, 1);
  board.setGroup("Sales");
  assert.deepEqual([board.agents.size, board.agentsKnown], [0, false]);
});

test("the service state", () => {
  const board = new Board();
  const seen = ["UNAVAILABLE", "AVAILABLE"].map((serviceState) => {
    board.apply({ name: "ServiceStateChange", topic: "/statistics/v3/service", data: { serviceState } }, T);
    return board.available;
  });
  assert.deepEqual(seen, [false, true]);
});

test("a value without a timestamp counts from when it came", () => {
  const board = boardWith("A");
  board.apply({ ...value("Queue", "A", "CurrentInQueue", 1), timestamp: undefined }, T + 7);
  assert.equal(board.queues.get("A").waitingSince, T + 7);
});

test("every status has a group with a label", () => {
  const keys = new Set(GROUPS.map(({ key }) => key));
  assert.ok(keys.has(classify("CallRinging").group));
  assert.deepEqual(classify("CallDialing"), { group: "alerting", detail: "Dialing" });
  assert.equal(rank("nothing"), GROUPS.length);
});

test("the server's clock is the one of the message that was least late", () => {
  const clock = new ServerClock(1000);
  assert.equal(clock.at(50), 50);
  clock.observe(10_000, 0);
  clock.observe(9_500, 100);
  clock.observe(NaN, 100);
  assert.equal(clock.at(200), 10_200);
});

test("a clock that was set back is followed within two windows", () => {
  const clock = new ServerClock(1000);
  clock.observe(10_000, 0);
  clock.observe(6_000, 1000);
  assert.equal(clock.at(1000), 11_000);
  clock.observe(7_000, 2000);
  assert.equal(clock.at(2000), 7_000);
});

test("after a long silence, or when this machine's clock was set back, old differences do not count", () => {
  const clock = new ServerClock(1000);
  clock.observe(10_000, 0);
  clock.observe(10_000, 9000);
  assert.equal(clock.at(9000), 10_000);
  clock.observe(10_000, 8000);
  assert.equal(clock.at(8000), 10_000);
});

test("thresholds", () => {
  const limits = { service_level_target: 80, service_level_alarm: 60, wait_warning_s: 60, wait_alarm_s: 180 };
  assert.deepEqual([null, 59, 60, 179, 180].map((s) => levelOfWait(s, limits)), ["", "", "warning", "warning", "alarm"]);
  assert.deepEqual([null, 80, 79.9, 60, 59.9].map((p) => levelOfService(p, limits)), ["", "", "warning", "warning", "alarm"]);
});
