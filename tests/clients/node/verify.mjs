// Reads a list of deliveries from the standard input and says of each whether the libraries of Standard Webhooks verify it.
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

let text = "";
for await (const piece of process.stdin.setEncoding("utf8")) text += piece;

const verified = (Library, { secret, raw, headers, body }) => {
  try {
    const webhook = raw ? new Library(new TextEncoder().encode(secret), { format: "raw" }) : new Library(secret);
    webhook.verify(body, headers);
    return "verified";
  } catch (fault) {
    return String(fault);
  }
};

const deliveries = JSON.parse(text);
console.log(JSON.stringify(deliveries.map((each) => ({ standardwebhooks: verified(Standard, each), svix: verified(Svix, each) }))));
