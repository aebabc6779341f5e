// @ts-check
/** A consumer's chat beside the agent's view of it, by the calls of the Participant service (docs/protocol/participants.md). */

const EVENT = "application/vnd.amazonaws.connect.event.";
const TYPE_OF_UNKNOWN = "application/octet-stream";

/** Lets somebody into a chat; the demo's sign-in allows it. */
async function letIn(body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/v1/participants", { method: "POST", headers, body: JSON.stringify(body) });
  const { status, data } = await answer.json();
  if (!answer.ok) throw new Error(status.message);
  return data;
}

/** What the hub has refused. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const OVER = [1000, 4401, 4403]; // the chat is over, or this participant is not in it any more
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** One side of the chat. It connects again by itself, until the chat is over. */
class Side {
  #list;
  #known;
  #tell;
  #token = "";
  /** @type {Map<string, HTMLLIElement>} by the Id of the item, in their order */
  #items = new Map();
  #newest = "";
  #over = false;

  /** `tell` is called with whether the side is connected. */
  constructor(section, known, tell) {
    this.#list = section.querySelector(".items");
    this.#known = known;
    this.#tell = tell;
    const form = section.querySelector("form");
    let sent = { text: "", token: "" };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = form.text.value.trim();
      if (!text) return;
      // whoever sends the same once more, because no answer came, says it once
      if (sent.text !== text) sent = { text, token: crypto.randomUUID() };
      const done = await this.#try(() => this.#call("message", { ContentType: "text/plain", Content: text, ClientToken: sent.token }));
      if (!done) return;
      sent = { text: "", token: "" };
      if (form.text.value.trim() === text) form.text.value = "";
    });
    form.file.addEventListener("change", () => {
      for (const file of form.file.files) this.#try(() => this.#attach(file));
      form.file.value = "";
    });
  }

  /** Connects, shows what was said, and from then on what is being said. */
  async open() {
    const { closed } = await this.#connect();
    this.#tell(true);
    this.#stay(closed);
  }

  async #stay(closed) {
    for (let wait = FIRST_PAUSE_MS; ; ) {
      const code = await closed;
      this.#over ||= OVER.includes(code);
      if (this.#over) return;
      this.#tell(false);
      while (true) {
        await pause(wait * (0.5 + Math.random() / 2));
        wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
        try {
          ({ closed } = await this.#connect());
          break;
        } catch (fault) {
          if (fault.status !== 403) continue;
          this.#over = true;
          this.#note(fault.message, "error");
          return;
        }
      }
      wait = FIRST_PAUSE_MS;
      this.#tell(true);
    }
  }

  /** Connects once. `closed` of what it returns is a promise of the code with which the connection is closed. */
  async #connect() {
    const kinds = ["WEBSOCKET", "CONNECTION_CREDENTIALS"];
    const answer = await this.#call("connection", { Type: kinds }, this.#known.participantToken);
    this.#token = answer.ConnectionCredentials.ConnectionToken;
    const socket = new WebSocket(answer.Websocket.Url);
    const closed = new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code); });
    await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(JSON.stringify({ topic: "aws/subscribe", content: { topics: ["aws/chat"] } }));
      closed.then((code) => reject(new Error(`the connection was closed (${code})`)));
      socket.onmessage = ({ data }) => {
        const { topic, content } = JSON.parse(data);
        if (topic === "aws/subscribe") resolve(undefined);
        if (topic === "aws/chat") this.#show(JSON.parse(content));
      };
    });
    try {
      await this.#catchUp();
    } catch (fault) {
      socket.close();
      throw fault;
    }
    return { closed }; // within an object, since whoever awaits this would await the promise, too
  }

  /** Shows what was said since the newest item that is known. */
  async #catchUp() {
    const start = this.#newest ? { Id: this.#newest } : { MostRecent: 100 };
    let page = { StartPosition: start };
    do {
      const found = await this.#call("transcript", { MaxResults: 100, SortOrder: "ASCENDING", ScanDirection: "FORWARD", ...page });
      for (const item of found.Transcript) {
        this.#show(item);
        this.#newest = item.Id;
      }
      page = found.NextToken && { NextToken: found.NextToken };
    } while (page);
  }

  async #call(name, body, token = this.#token) {
    const headers = { "Content-Type": "application/json", "X-Amz-Bearer": token };
    const answer = await fetch(`/participant/${name}`, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" });
    const found = await answer.json();
    if (!answer.ok) throw new Refused(answer.status, found.Message);
    return found;
  }

  async #attach(file) {
    const token = crypto.randomUUID();
    const type = file.type || TYPE_OF_UNKNOWN;
    const { AttachmentId, UploadMetadata } = await this.#call("start-attachment-upload", {
      AttachmentName: file.name, AttachmentSizeInBytes: file.size, ContentType: type, ClientToken: token,
    });
    const sent = await fetch(UploadMetadata.Url, { method: "PUT", headers: UploadMetadata.HeadersToInclude, body: file });
    if (!sent.ok) throw new Refused(sent.status, "the upload was refused");
    await this.#call("complete-attachment-upload", { AttachmentIds: [AttachmentId], ClientToken: token });
  }

  async #download(id) {
    const { Url } = await this.#call("attachment", { AttachmentId: id });
    location.assign(Url); // it is saved, and the page stays
  }

  /** Returns whether it was done; else the line says why not. */
  async #try(work) {
    try {
      await work();
      return true;
    } catch (fault) {
      this.#note(fault instanceof Refused ? fault.message : "The hub cannot be reached: try again.", "error");
      return false;
    }
  }

  #note(text, kind = "") {
    const line = document.createElement("li");
    line.className = `note ${kind}`.trim();
    if (kind === "error") line.setAttribute("role", "alert");
    line.textContent = text;
    this.#list.append(line);
    line.scrollIntoView({ block: "nearest" });
    return line;
  }

  /** The line of an item: those of a chat stand in the order of their times, also where they come late. */
  #lineOf(item) {
    const known = this.#items.get(item.Id);
    if (known) return known;
    const line = this.#note("");
    line.dataset.at = item.AbsoluteTime;
    const later = [...this.#list.children].find((each) => each.dataset.at > item.AbsoluteTime);
    if (later) later.before(line);
    this.#items.set(item.Id, line);
    return line;
  }

  /** Shows an item; one that comes again, as it is now. */
  #show(item) {
    const line = this.#lineOf(item);
    if (item.Type === "EVENT") {
      const words = { "participant.joined": "has joined", "participant.left": "has left", "chat.ended": "The chat is over" };
      const said = words[item.ContentType.slice(EVENT.length)];
      this.#over ||= item.ContentType === `${EVENT}chat.ended`;
      line.textContent = item.DisplayName ? `${item.DisplayName} ${said}` : said;
      line.hidden = !said;
      return;
    }
    if (item.Type === "MESSAGEMETADATA") {
      line.hidden = true;
      return;
    }
    line.className = item.ParticipantId === this.#known.participantId ? "own" : "other";
    const who = document.createElement("small");
    who.textContent = item.DisplayName;
    line.replaceChildren(who, ...(item.Type === "ATTACHMENT" ? item.Attachments.map((file) => this.#file(file)) : [item.Content ?? ""]));
  }

  #file(file) {
    if (file.Status !== "APPROVED") return `${file.AttachmentName} (${file.Status === "REJECTED" ? "refused" : "being checked"})`;
    const link = document.createElement("button");
    link.type = "button";
    link.textContent = file.AttachmentName;
    link.addEventListener("click", () => this.#try(() => this.#download(file.AttachmentId)));
    return link;
  }
}

const state = document.getElementById("state");
try {
  await fetch("/"); // the demo's page signs a browser in
  const ana = await letIn({ role: "CUSTOMER", displayName: "Ana" });
  const ben = await letIn({ role: "AGENT", displayName: "Ben", interactionId: ana.interactionId });
  const connected = new Map();
  const open = (id, known) => new Side(document.getElementById(id), known, (is) => {
    connected.set(id, is);
    const all = [...connected.values()].every(Boolean);
    state.textContent = all ? `Interaction ${ana.interactionId}` : "The connection is lost. Trying again.";
    document.body.dataset.connected = String(all);
  }).open();
  await open("customer", ana);
  await open("agent", ben);
  document.body.dataset.interaction = ana.interactionId;
} catch (fault) {
  state.textContent = `The chat did not begin: ${fault.message ?? fault}`;
}
