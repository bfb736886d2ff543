import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.IMqttToken;
import org.eclipse.paho.client.mqttv3.MqttAsyncClient;
import org.eclipse.paho.client.mqttv3.MqttCallback;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** Paho Java for MQTT 3.1 and 3.1.1 as a child of a test. Arguments: port, protocol version (3 or 4). */
final class ClientV3 implements Lines.Library {
    private final String server;
    private final int version;
    private final Map<String, MqttAsyncClient> clients = new HashMap<>();

    private ClientV3(String port, String version) {
        this.server = "tcp://127.0.0.1:" + port;
        this.version = Integer.parseInt(version);
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(new ClientV3(arguments[0], arguments[1]));
    }

    @Override
    public Lines.Answer connect(Lines.Command command) throws MqttException {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setMqttVersion(version);
        options.setCleanSession(command.sessionSeconds() == 0);
        options.setMaxInflight(1_000);
        Lines.Will will = command.will();
        if (will != null) options.setWill(will.topic(), bytes(will.payload()), will.qos(), will.retain());
        MqttAsyncClient client = new MqttAsyncClient(server, command.clientId(), new MemoryPersistence());
        client.setCallback(new MqttCallback() {
            @Override
            public void connectionLost(Throwable cause) {}

            @Override
            public void messageArrived(String topic, MqttMessage message) {
                String payload = new String(message.getPayload(), StandardCharsets.UTF_8);
                Lines.received(command.client(), new Lines.Message(topic, payload, message.getQos(), message.isRetained(), List.of(), null));
            }

            @Override
            public void deliveryComplete(IMqttDeliveryToken token) {}
        });
        IMqttToken token = client.connect(options);
        token.waitForCompletion(Lines.WAIT_MILLISECONDS);
        clients.put(command.client(), client);
        return new Lines.Answer(token.getSessionPresent(), 0);
    }

    @Override
    public Lines.Answer subscribe(Lines.Command command) throws MqttException {
        IMqttToken token = clients.get(command.client()).subscribe(command.filter(), command.qos());
        try {
            token.waitForCompletion(Lines.WAIT_MILLISECONDS);
        } catch (MqttException refused) {
            if (refused.getReasonCode() != MqttException.REASON_CODE_SUBSCRIBE_FAILED) throw refused;
        }
        return new Lines.Answer(false, token.getGrantedQos()[0]);
    }

    @Override
    public Lines.Answer publish(Lines.Command command) throws MqttException {
        MqttAsyncClient client = clients.get(command.client());
        List<IMqttToken> tokens = new ArrayList<>();
        for (String payload : command.payloads()) tokens.add(client.publish(command.topic(), bytes(payload), command.qos(), command.retain()));
        for (IMqttToken token : tokens) token.waitForCompletion(Lines.WAIT_MILLISECONDS);
        return new Lines.Answer(false, 0);
    }

    @Override
    public Lines.Answer disconnect(Lines.Command command) throws MqttException {
        MqttAsyncClient client = clients.remove(command.client());
        client.disconnect().waitForCompletion(Lines.WAIT_MILLISECONDS);
        client.close();
        return new Lines.Answer(false, 0);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
