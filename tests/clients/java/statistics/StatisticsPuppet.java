import com.squareup.okhttp.HttpUrl;
import com.squareup.okhttp.MediaType;
import com.squareup.okhttp.OkHttpClient;
import com.squareup.okhttp.Request;
import com.squareup.okhttp.RequestBody;
import com.squareup.okhttp.Response;
import java.io.IOException;
import java.net.CookieManager;
import java.net.CookiePolicy;
import java.net.CookieStore;
import java.net.HttpCookie;
import java.net.URI;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.client.ClientSession;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.cometd.client.transport.LongPollingTransport;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.util.ajax.JSON;

/**
 * What Genesys' statistics-client-java 9.0.71 does on the wire, with the libraries that it uses: CometD's client 4.0.4 over Jetty's HTTP client,
 * OkHttp 2.7.5 for the calls, one cookie store for both. It is ready when a cookie STATISTICS_SESSIONID has come, and subscribes to both
 * channels in the callback of the handshake.
 */
final class StatisticsPuppet extends BayeuxPuppet {
    private static final String SERVICE = "/statistics/v3/service";
    private static final String UPDATES = "/statistics/v3/updates";
    private static final MediaType JSON_TYPE = MediaType.parse("application/json; charset=utf-8");
    private static final long WITHIN_S = 30;

    private final CompletableFuture<Void> ready = new CompletableFuture<>();
    private final CookieStore cookies = new Cookies(ready);
    private final OkHttpClient rest = new OkHttpClient();
    private HttpClient http;
    private String base;
    private String apiKey;
    private volatile String token;

    private StatisticsPuppet(Puppets.Events events) {
        super(events);
    }

    public static void main(String[] arguments) throws Exception {
        Puppets.serve(StatisticsPuppet::new);
    }

    @Override
    protected BayeuxClient make(Map<?, ?> options) throws Exception {
        base = options.get("url") + "/statistics/v3";
        apiKey = (String) options.get("apiKey");
        rest.setCookieHandler(new CookieManager(cookies, CookiePolicy.ACCEPT_ALL));
        rest.setReadTimeout(WITHIN_S, TimeUnit.SECONDS);
        http = new HttpClient();
        http.start();
        BayeuxClient made = new BayeuxClient(base + "/notifications", new LongPollingTransport(new HashMap<>(), http) {
            @Override
            protected CookieStore getCookieStore() {
                return cookies;
            }

            @Override
            protected void customize(org.eclipse.jetty.client.api.Request request) {
                headers().forEach(request::header);
            }
        });
        return made;
    }

    private Map<String, String> headers() {
        Map<String, String> made = new HashMap<>();
        made.put("x-api-key", apiKey);
        made.put("Authorization", "Bearer " + token);
        made.put("X-B3-TraceId", hex());
        made.put("X-B3-SnapId", hex()); // as the library spells it
        return made;
    }

    private static String hex() {
        return String.format("%016x", ThreadLocalRandom.current().nextLong());
    }

    @Override
    protected void release() throws Exception {
        http.stop();
    }

    @Override
    public Object call(String name, Object[] arguments) throws Exception {
        switch (name) {
            case "initialize":
                initialize((String) arguments[0]);
                return null;
            case "handshake":
                token = (String) ((Map<?, ?>) arguments[0]).get("token");
                return super.call(name, new Object[0]);
            case "createSubscription":
                return send("POST", "/subscriptions?verbose=" + verbose(arguments, 2),
                    Puppets.map("operationId", arguments[0], "data", Puppets.map("statistics", arguments[1])));
            case "peek":
                return send("GET", "/subscriptions/" + arguments[0] + "/statistic-values?" + ids(arguments) + "verbose=" + verbose(arguments, 2), null);
            case "value":
                return send("GET", "/statistic-values/" + arguments[0] + "?objectId=" + arguments[1] + "&objectType=" + arguments[2], null);
            case "values":
                return send("POST", "/operations/get-statistic-ex", Puppets.map("data", Puppets.map("statistics", arguments[0])));
            case "deleteSubscription":
                return send("DELETE", "/subscriptions/" + arguments[0], null);
            case "cookies":
                return cookies.getCookies().stream().map(HttpCookie::toString).toArray();
            default:
                return super.call(name, arguments);
        }
    }

    /** Returns when the session's cookie has come, as the library's future does; the channels may not be subscribed to yet. */
    private void initialize(String withToken) throws Exception {
        token = withToken;
        client.handshake((ClientSession.MessageListener) message -> {
            if (message.isSuccessful()) {
                client.getChannel(SERVICE).subscribe((ClientSessionChannel.MessageListener) (channel, told) ->
                    events.emit("service", Puppets.map("data", told.getDataAsMap())));
                client.getChannel(UPDATES).subscribe((ClientSessionChannel.MessageListener) (channel, told) ->
                    events.emit("updates", Puppets.map("data", told.getDataAsMap())));
            }
        });
        ready.get(WITHIN_S, TimeUnit.SECONDS);
        events.emit("initialized", Puppets.map("channel", Channel.META_HANDSHAKE));
    }

    private static String verbose(Object[] arguments, int place) {
        return arguments.length <= place || (Boolean) arguments[place] ? "INFO" : "OFF";
    }

    /** One parameter with commas, where the JavaScript library repeats it. */
    private static String ids(Object[] arguments) {
        Object[] ids = arguments.length > 1 ? (Object[]) arguments[1] : new Object[0];
        return ids.length == 0 ? "" : "statisticIds=" + Stream.of(ids).map(String::valueOf).collect(Collectors.joining(",")) + "&";
    }

    private Object send(String method, String path, Object body) throws IOException {
        RequestBody content = body == null ? null : RequestBody.create(JSON_TYPE, new JSON().toJSON(body));
        Request.Builder request = new Request.Builder().url(HttpUrl.parse(base + path)).method(method, content);
        headers().forEach(request::header);
        Response response = rest.newCall(request.build()).execute();
        String text = response.body().string();
        if (!response.isSuccessful()) {
            throw new IOException(response.code() + " " + text);
        }
        return new JSON().fromJSON(text);
    }

    /** The JVM's own store, which tells when the session's cookie comes. */
    private static final class Cookies implements CookieStore {
        private static final String SESSION = "STATISTICS_SESSIONID";

        private final CookieStore kept = new CookieManager().getCookieStore();
        private final CompletableFuture<Void> ready;

        Cookies(CompletableFuture<Void> ready) {
            this.ready = ready;
        }

        @Override
        public void add(URI uri, HttpCookie cookie) {
            kept.add(uri, cookie);
            if (SESSION.equalsIgnoreCase(cookie.getName())) {
                ready.complete(null);
            }
        }

        @Override
        public List<HttpCookie> get(URI uri) {
            return kept.get(uri);
        }

        @Override
        public List<HttpCookie> getCookies() {
            return kept.getCookies();
        }

        @Override
        public List<URI> getURIs() {
            return kept.getURIs();
        }

        @Override
        public boolean remove(URI uri, HttpCookie cookie) {
            return kept.remove(uri, cookie);
        }

        @Override
        public boolean removeAll() {
            return kept.removeAll();
        }
    }
}
