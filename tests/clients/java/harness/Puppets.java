import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import org.eclipse.jetty.util.ajax.JSON;

/**
 * Clients as puppets of a test, by the protocol of tests/clients/node/harness.mjs: commands come as one JSON text a line on stdin, results and
 * events go to stdout behind a record separator (RFC 7464). A command may wait: the next ones do not wait for it.
 */
final class Puppets {
    private static final char RECORD_SEPARATOR = 0x1e;
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private Puppets() {
    }

    /** Tells the test that something happened by itself. */
    interface Events {
        void emit(String event, Map<String, Object> fields);
    }

    /** One client: it does what a command says and returns the result. */
    interface Puppet {
        Object call(String name, Object[] arguments) throws Exception;
    }

    /** Serves the commands until stdin ends. {@code makeClient} makes a client for each number that the test names. */
    static void serve(Function<Events, Puppet> makeClient) throws Exception {
        Map<Object, Puppet> clients = new ConcurrentHashMap<>();
        ExecutorService threads = Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        record(map("event", "ready", "client", null));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<?, ?> command = (Map<?, ?>) new JSON().fromJSON(line);
            Object number = command.get("client");
            Puppet client = clients.computeIfAbsent(number, made -> makeClient.apply((event, fields) -> {
                Map<String, Object> told = map("event", event, "client", made);
                told.putAll(fields);
                record(told);
            }));
            String name = (String) command.get("name");
            threads.execute(() -> {
                try {
                    record(map("call", command.get("call"), "result", client.call(name, (Object[]) command.get("args"))));
                } catch (Exception | LinkageError fault) {
                    record(map("call", command.get("call"), "error", stack(fault)));
                }
                if (name.equals("drop")) {
                    clients.remove(number);
                }
            });
        }
        System.exit(0); // the libraries' threads go on: the end of the commands is the end of the process
    }

    /** A map of names and values, in their order. */
    static Map<String, Object> map(Object... pairs) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int index = 0; index < pairs.length; index += 2) {
            made.put((String) pairs[index], pairs[index + 1]);
        }
        return made;
    }

    private static void record(Map<String, Object> value) {
        String text = RECORD_SEPARATOR + new JSON().toJSON(value) + "\n";
        synchronized (OUT) {
            OUT.print(text);
            OUT.flush();
        }
    }

    private static String stack(Throwable fault) {
        StringWriter text = new StringWriter();
        fault.printStackTrace(new PrintWriter(text));
        return text.toString();
    }
}
