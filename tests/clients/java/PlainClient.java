import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Java's own HTTP client with its defaults: it offers {@code Upgrade: h2c} with each request on a new connection. */
class PlainClient {
    private static final String HANDSHAKE =
        "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"long-polling\"],"
        + "\"ext\":{\"authentication\":{\"token\":\"demo-token\"}}}]";

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        HttpClient client = HttpClient.newHttpClient();
        print("handshake", client.send(post(url + "/cometd", HANDSHAKE).build(), BodyHandlers.ofString()));
        // of unknown length: the client sends it in chunks
        HttpRequest chunked = HttpRequest.newBuilder(URI.create(url + "/cometd"))
            .POST(BodyPublishers.fromPublisher(BodyPublishers.ofString(HANDSHAKE))).build();
        print("chunked", HttpClient.newHttpClient().send(chunked, BodyHandlers.ofString()));
        HttpRequest asked = post(url + "/cometd", HANDSHAKE).expectContinue(true).build();
        print("asked", HttpClient.newHttpClient().send(asked, BodyHandlers.ofString()));
        String large = IntStream.range(0, 5000).mapToObj(number ->
            "{\"specversion\":\"1.0\",\"id\":\"" + number + "\",\"source\":\"/java\",\"type\":\"cx.agent.ready\","
            + "\"time\":\"" + java.time.Instant.now() + "\",\"data\":{\"agentId\":\"java\"}}").collect(Collectors.joining("\n"));
        HttpRequest ingest = post(url + "/ingest/v1/events", large)
            .setHeader("Content-Type", "application/x-ndjson").header("Authorization", "Bearer demo-token").build();
        print("large", HttpClient.newHttpClient().send(ingest, BodyHandlers.ofString()));
        CompletableFuture<String> welcome = new CompletableFuture<>();
        WebSocket socket = client.newWebSocketBuilder().buildAsync(URI.create(url.replace("http", "ws") + "/ws"), new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onText(WebSocket from, CharSequence text, boolean last) {
                welcome.complete(text.toString());
                return null;
            }
        }).get(20, TimeUnit.SECONDS);
        socket.sendText("{\"type\":\"hello\",\"token\":\"demo-token\"}", true);
        System.out.println("websocket 101 " + welcome.get(20, TimeUnit.SECONDS));
        System.exit(0);
    }

    private static HttpRequest.Builder post(String url, String body) {
        return HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/json").POST(BodyPublishers.ofString(body));
    }

    private static void print(String what, HttpResponse<String> response) {
        System.out.println(what + " " + response.statusCode() + " " + response.body());
    }
}
