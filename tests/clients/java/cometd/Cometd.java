import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import org.cometd.client.BayeuxClient;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.websocket.jakarta.WebSocketTransport;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.http.HttpCookieStore;

/** CometD's client for Java, version 8, over long-polling and over a WebSocket. */
final class Cometd extends BayeuxPuppet {
    private static final ScheduledExecutorService SCHEDULER = Executors.newScheduledThreadPool(2, work -> {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        return thread;
    });
    private static final HttpClient HTTP = new HttpClient();
    private static final WebSocketContainer SOCKETS = ContainerProvider.getWebSocketContainer();

    private Cometd(Puppets.Events events) {
        super(events);
    }

    public static void main(String[] arguments) throws Exception {
        HTTP.setHttpCookieStore(new HttpCookieStore.Empty()); // each client keeps its own
        HTTP.setMaxConnectionsPerDestination(1024);
        HTTP.start();
        Puppets.serve(Cometd::new);
    }

    @Override
    protected BayeuxClient make(Map<?, ?> options) {
        Map<String, Object> settings = new HashMap<>();
        settings.put(ClientTransport.MAX_NETWORK_DELAY_OPTION, 10000L);
        boolean socket = ((Object[]) options.get("transports"))[0].equals("websocket");
        String url = (String) options.get("url");
        BayeuxClient made = new BayeuxClient(socket ? url.replaceFirst("^http", "ws") : url, SCHEDULER, socket
            ? new WebSocketTransport(settings, SCHEDULER, SOCKETS)
            : new JettyHttpClientTransport(settings, HTTP));
        made.setBackOffStrategy(new BayeuxClient.BackOffStrategy.Constant(200));
        return made;
    }

    @Override
    protected void release() {
        // what the clients share ends with the process
    }
}
