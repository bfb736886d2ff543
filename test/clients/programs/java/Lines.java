import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/**
 * Lets a test drive a client library: commands come as JSON lines on standard input, answers and messages leave as JSON lines on standard output. It knows
 * nothing of MQTT.
 */
final class Lines {
    static final long WAIT_MILLISECONDS = 20_000;

    private static final Gson GSON = new Gson();
    private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    record Will(String topic, String payload, int qos, boolean retain) {}

    record Command(
            int id, String client, String clientId, long sessionSeconds, Will will, String filter, String topic, List<String> payloads,
            int qos, boolean retain, List<List<String>> userProperties, String responseTopic, String correlationData) {}

    record Message(String topic, String payload, int qos, boolean retain, List<List<String>> userProperties, String correlationData) {}

    record Answer(boolean sessionPresent, int code, List<List<String>> userProperties) {
        Answer(boolean sessionPresent, int code) {
            this(sessionPresent, code, List.of());
        }
    }

    interface Library {
        Answer connect(Command command) throws Exception;

        Answer subscribe(Command command) throws Exception;

        Answer publish(Command command) throws Exception;

        Answer disconnect(Command command) throws Exception;
    }

    private Lines() {}

    private static synchronized void say(Object fields) {
        OUTPUT.println(GSON.toJson(fields));
    }

    /** Reports a message of one client. */
    static void received(String client, Message message) {
        say(Map.of("client", client, "message", message));
    }

    /** Obeys commands until standard input ends. */
    static void serve(Library library) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            Command command = GSON.fromJson(line, Command.class);
            try {
                String verb = GSON.fromJson(line, JsonObject.class).get("do").getAsString();
                Answer answer = switch (verb) {
                    case "connect" -> library.connect(command);
                    case "subscribe" -> library.subscribe(command);
                    case "publish" -> library.publish(command);
                    default -> library.disconnect(command);
                };
                say(Map.of("id", command.id(), "answer", answer));
            } catch (Exception error) {
                say(Map.of("id", command.id(), "error", error.toString()));
            }
        }
        System.exit(0);
    }
}
