package conformance;

import java.time.Duration;
import java.util.Map;
import java.util.Set;

import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.ConfigurableServerChannel;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.TimesyncExtension;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.JSONPHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.common.AbstractWebSocketTransport;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.CrossOriginHandler;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * CometD's own server with its defaults, the three transports, ack, timesync, and the hooks of the conformance suite (docs/conformance.md).
 * Arguments: {@code --port N --timeout-ms N --max-interval-ms N}.
 */
public final class Main {
    private static final String MAPPING = "/cometd/*";
    private static final String HOOKS = "/service/conformance/";
    private static final String PAGES_ORIGIN = "http://pages\\.example";

    private Main() {
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(option(arguments, "--port", "8081"));
        Server server = new Server();
        server.setStopAtShutdown(true);
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(port);
        server.addConnector(connector);

        ServletContextHandler context = new ServletContextHandler("/");
        CrossOriginHandler crossOrigin = new CrossOriginHandler();
        crossOrigin.setAllowedOriginPatterns(Set.of(PAGES_ORIGIN));
        crossOrigin.setAllowCredentials(true);
        crossOrigin.setPreflightMaxAge(Duration.ofMinutes(10));
        crossOrigin.setHandler(context);
        server.setHandler(crossOrigin);
        WebSocketUpgradeHandler upgrades = WebSocketUpgradeHandler.from(server, context);
        context.insertHandler(upgrades);

        ServletHolder servlet = new ServletHolder(new HookedServlet(context));
        servlet.setInitParameter("timeout", option(arguments, "--timeout-ms", "20000"));
        servlet.setInitParameter("maxInterval", option(arguments, "--max-interval-ms", "10000"));
        servlet.setInitParameter("ws." + AbstractWebSocketTransport.COMETD_URL_MAPPING_OPTION, MAPPING);
        servlet.setInitParameter(BayeuxServerImpl.TRANSPORTS_OPTION, String.join(",",
                JettyWebSocketTransport.class.getName(), JSONHttpTransport.class.getName(), JSONPHttpTransport.class.getName()));
        servlet.setInitOrder(1);
        servlet.setAsyncSupported(true);
        context.addServlet(servlet, MAPPING);

        server.start();
        System.out.println("ready: CometD " + BayeuxServerImpl.class.getPackage().getImplementationVersion()
                + " on Jetty " + Server.getVersion() + ", port " + connector.getLocalPort());
        server.join();
    }

    private static String option(String[] arguments, String name, String otherwise) {
        for (int i = 0; i + 1 < arguments.length; i++) {
            if (arguments[i].equals(name)) {
                return arguments[i + 1];
            }
        }
        return otherwise;
    }

    /** CometD's servlet, whose server knows Jetty's context (its WebSocket transport asks for it) and has the hooks. */
    private static final class HookedServlet extends CometDServlet {
        private final transient ServletContextHandler context;

        private HookedServlet(ServletContextHandler context) {
            this.context = context;
        }

        @Override
        protected BayeuxServer newBayeuxServer() {
            BayeuxServerImpl bayeux = new BayeuxServerImpl();
            bayeux.setOption(Context.class.getName(), context.getContext());
            bayeux.addExtension(new AcknowledgedMessagesExtension());
            bayeux.addExtension(new TimesyncExtension());
            bayeux.addExtension(new Veto());
            bayeux.setSecurityPolicy(new Policy());
            listen(bayeux, "echo", (session, message) -> session.deliver(null, message.getChannel(), message.getData(), Promise.noop()));
            listen(bayeux, "kick", (session, message) -> session.disconnect());
            listen(bayeux, "deliver-kick", (session, message) -> {
                session.deliver(null, message.getChannel(), Map.of("last", true), Promise.noop());
                session.disconnect();
            });
            listen(bayeux, "call", (session, message) -> {
                Map<String, Object> asked = message.getDataAsMap();
                ServerMessage.Mutable result = bayeux.newMessage();
                result.setId(message.getId());
                result.setChannel(message.getChannel());
                result.setSuccessful(!Boolean.TRUE.equals(asked.get("fail")));
                result.setData(asked.get("value"));
                session.deliver(null, result, Promise.noop());
            });
            return bayeux;
        }

        private static void listen(BayeuxServer bayeux, String hook, Hook handler) {
            bayeux.createChannelIfAbsent(HOOKS + hook, channel -> channel.setPersistent(true))
                    .getReference().addListener(new ServerChannel.MessageListener() {
                        @Override
                        public boolean onMessage(ServerSession session, ServerChannel channel, ServerMessage.Mutable message) {
                            handler.handle(session, message);
                            return true;
                        }
                    });
        }
    }

    /** What one service channel does. */
    @FunctionalInterface
    private interface Hook {
        void handle(ServerSession session, ServerMessage.Mutable message);
    }

    /** Refuses what is published on one channel. */
    private static final class Veto implements BayeuxServer.Extension {
        @Override
        public boolean rcv(ServerSession session, ServerMessage.Mutable message) {
            return !"/conformance/vetoed".equals(message.getChannel());
        }
    }

    /** Refuses one token. */
    private static final class Policy extends DefaultSecurityPolicy {
        @Override
        public boolean canHandshake(BayeuxServer server, ServerSession session, ServerMessage message) {
            Map<String, Object> ext = message.getExt();
            Object authentication = ext == null ? null : ext.get("authentication");
            boolean bad = authentication instanceof Map<?, ?> map && "bad".equals(map.get("token"));
            return session.isLocalSession() || !bad;
        }
    }
}
