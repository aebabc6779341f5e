import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;

/** What every Bayeux client of Java can do, whatever its version: the same commands as tests/clients/node/cometd.mjs has. */
abstract class BayeuxPuppet implements Puppets.Puppet {
    private static final String[] META = {Channel.META_HANDSHAKE, Channel.META_CONNECT, Channel.META_SUBSCRIBE, Channel.META_DISCONNECT};
    private static final long WITHIN_S = 20;

    protected final Puppets.Events events;
    protected volatile BayeuxClient client;
    private final Map<String, ClientSessionChannel.MessageListener> subscriptions = new ConcurrentHashMap<>();
    private volatile boolean established;

    BayeuxPuppet(Puppets.Events events) {
        this.events = events;
    }

    /** Makes the client as the command {@code open} describes it. */
    protected abstract BayeuxClient make(Map<?, ?> options) throws Exception;

    /** Ends what {@link #make} started beside the client. */
    protected abstract void release() throws Exception;

    @Override
    public Object call(String name, Object[] arguments) throws Exception {
        switch (name) {
            case "open":
                client = make((Map<?, ?>) arguments[0]);
                listen();
                return null;
            case "handshake":
                return handshake(arguments.length > 0 ? (Map<?, ?>) arguments[0] : null);
            case "subscribe":
                return subscribe((String) arguments[0]);
            case "unsubscribe":
                return unsubscribe((String) arguments[0]);
            case "publish":
                return publish((String) arguments[0], arguments[1]);
            case "publishBatch":
                return publishBatch((Object[]) arguments[0]);
            case "disconnect":
                return disconnect();
            case "status":
                return Puppets.map("clientId", client.getId(), "transport", client.getTransport() == null ? null : client.getTransport().getName());
            case "drop":
                if (client != null) {
                    client.disconnect(1000);
                    release();
                }
                return null;
            default:
                throw new IllegalArgumentException("no such command: " + name);
        }
    }

    private void listen() {
        for (String channel : META) {
            client.getChannel(channel).addListener((ClientSessionChannel.MessageListener) (from, message) ->
                events.emit("meta", Puppets.map("channel", channel, "message", plain(message))));
        }
        // the library forgets subscriptions on a new handshake; the manual's advice is to subscribe again in this listener
        client.getChannel(Channel.META_HANDSHAKE).addListener((ClientSessionChannel.MessageListener) (from, message) -> {
            if (message.isSuccessful()) {
                if (established) {
                    client.batch(() -> subscriptions.forEach(this::subscribeAgain));
                }
                established = true;
            }
        });
    }

    /** Subscribes until there is an answer: a request that got lost in the network is the application's to repeat. */
    private void subscribeAgain(String channel, ClientSessionChannel.MessageListener listener) {
        client.getChannel(channel).subscribe(listener, reply -> {
            if (!reply.isSuccessful() && reply.get("failure") != null) {
                client.getChannel(channel).unsubscribe(listener);
                subscribeAgain(channel, listener);
            }
        });
    }

    private Object handshake(Map<?, ?> authentication) throws Exception {
        Map<String, Object> template = new HashMap<>();
        if (authentication != null) {
            Map<String, Object> ext = new HashMap<>();
            ext.put("authentication", authentication);
            template.put("ext", ext);
        }
        CompletableFuture<Object> reply = new CompletableFuture<>();
        AtomicReference<Object> failure = new AtomicReference<>();
        client.handshake(template, message -> {
            failure.set(message.get("failure"));
            // the library tries again by itself where the network failed, and also where HTTP refuses the credential: that is an answer
            if (message.get("failure") == null || isRefusal(message.get("failure"))) {
                reply.complete(plain(message));
            }
        });
        try {
            return reply.get(WITHIN_S, TimeUnit.SECONDS);
        } catch (TimeoutException timeout) {
            throw new IllegalStateException("no answer to the handshake within " + WITHIN_S + " s; the last failure: " + failure.get(), timeout);
        }
    }

    /** Whether a failure is the status by which HTTP refuses a credential. */
    private static boolean isRefusal(Object failure) {
        Object code = failure instanceof Map ? ((Map<?, ?>) failure).get("httpCode") : null;
        return code instanceof Number && (((Number) code).intValue() == 401 || ((Number) code).intValue() == 403);
    }

    private Object subscribe(String channel) throws Exception {
        CompletableFuture<Object> reply = new CompletableFuture<>();
        ClientSessionChannel.MessageListener listener = (from, message) ->
            events.emit("message", Puppets.map("subscription", channel, "message", plain(message)));
        subscriptions.put(channel, listener);
        client.getChannel(channel).subscribe(listener, message -> reply.complete(plain(message)));
        return reply.get(WITHIN_S, TimeUnit.SECONDS);
    }

    private Object unsubscribe(String channel) throws Exception {
        CompletableFuture<Object> reply = new CompletableFuture<>();
        client.getChannel(channel).unsubscribe(subscriptions.remove(channel), message -> reply.complete(plain(message)));
        return reply.get(WITHIN_S, TimeUnit.SECONDS);
    }

    private Object publish(String channel, Object data) throws Exception {
        CompletableFuture<Object> reply = new CompletableFuture<>();
        client.getChannel(channel).publish(data, message -> reply.complete(plain(message)));
        return reply.get(WITHIN_S, TimeUnit.SECONDS);
    }

    private Object publishBatch(Object[] pairs) throws Exception {
        Object[] replies = new Object[pairs.length];
        CompletableFuture<?>[] all = new CompletableFuture<?>[pairs.length];
        client.batch(() -> {
            for (int index = 0; index < pairs.length; index++) {
                Object[] pair = (Object[]) pairs[index];
                int place = index;
                CompletableFuture<Void> answered = new CompletableFuture<>();
                all[index] = answered;
                client.getChannel((String) pair[0]).publish(pair[1], message -> {
                    replies[place] = plain(message);
                    answered.complete(null);
                });
            }
        });
        CompletableFuture.allOf(all).get(WITHIN_S, TimeUnit.SECONDS);
        return replies;
    }

    private Object disconnect() throws Exception {
        CompletableFuture<Object> reply = new CompletableFuture<>();
        client.disconnect(message -> reply.complete(plain(message)));
        return reply.get(WITHIN_S, TimeUnit.SECONDS);
    }

    /** A message without what the library adds to one that failed: exceptions and requests. */
    protected static Map<String, Object> plain(Message message) {
        Map<String, Object> made = new LinkedHashMap<>(message);
        Object failure = made.get("failure");
        if (failure != null) {
            made.put("failure", String.valueOf(((Map<?, ?>) failure).get("exception")));
        }
        return made;
    }
}
