// Sends CloudEvents with the SDK for JavaScript as it comes: in the binary mode unless "structured" is asked for.
// Arguments: the address, a bearer token, the mode ("" or "structured"), and the events, each as JSON of {"id","source","type","data"}.
import { CloudEvent, Mode, emitterFor, httpTransport } from "cloudevents";

const [url, token, mode, ...events] = process.argv.slice(2);
const emit = mode === "structured" ? emitterFor(httpTransport(url), { mode: Mode.STRUCTURED }) : emitterFor(httpTransport(url));
for (const text of events) {
  const answer = await emit(new CloudEvent(JSON.parse(text)), { headers: { authorization: `Bearer ${token}` } });
  console.log(JSON.parse(answer.body).status.code === 0 ? 200 : answer.body);
}
