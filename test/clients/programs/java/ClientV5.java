import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttAsyncClient;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;
import org.eclipse.paho.mqttv5.common.packet.UserProperty;

/** Paho Java for MQTT 5 as a child of a test. Arguments: port, protocol version (5). */
final class ClientV5 implements Lines.Library {
    private final String server;
    private final Map<String, MqttAsyncClient> clients = new HashMap<>();

    private ClientV5(String port) {
        this.server = "tcp://127.0.0.1:" + port;
    }

    public static void main(String[] arguments) throws Exception {
        Lines.serve(new ClientV5(arguments[0]));
    }

    @Override
    public Lines.Answer connect(Lines.Command command) throws MqttException {
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setCleanStart(command.sessionSeconds() == 0);
        options.setSessionExpiryInterval(command.sessionSeconds());
        Lines.Will will = command.will();
        if (will != null) options.setWill(will.topic(), new MqttMessage(bytes(will.payload()), will.qos(), will.retain(), new MqttProperties()));
        MqttAsyncClient client = new MqttAsyncClient(server, command.clientId(), new MemoryPersistence());
        client.setCallback(new MqttCallback() {
            @Override
            public void disconnected(MqttDisconnectResponse response) {}

            @Override
            public void mqttErrorOccurred(MqttException exception) {}

            @Override
            public void messageArrived(String topic, MqttMessage message) {
                String payload = new String(message.getPayload(), StandardCharsets.UTF_8);
                MqttProperties properties = message.getProperties();
                byte[] data = properties.getCorrelationData();
                Lines.received(command.client(), new Lines.Message(
                        topic, payload, message.getQos(), message.isRetained(), pairs(properties.getUserProperties()),
                        data == null ? null : new String(data, StandardCharsets.UTF_8)));
            }

            @Override
            public void deliveryComplete(IMqttToken token) {}

            @Override
            public void connectComplete(boolean reconnect, String serverUri) {}

            @Override
            public void authPacketArrived(int reasonCode, MqttProperties properties) {}
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
            if (token.getReasonCodes() == null) throw refused;
        }
        return new Lines.Answer(false, token.getReasonCodes()[0]);
    }

    @Override
    public Lines.Answer publish(Lines.Command command) throws MqttException {
        MqttAsyncClient client = clients.get(command.client());
        List<IMqttToken> tokens = new ArrayList<>();
        for (String payload : command.payloads()) {
            MqttProperties properties = new MqttProperties();
            if (command.userProperties() != null) {
                List<UserProperty> all = new ArrayList<>();
                for (List<String> pair : command.userProperties()) all.add(new UserProperty(pair.get(0), pair.get(1)));
                properties.setUserProperties(all);
            }
            if (command.responseTopic() != null) {
                properties.setResponseTopic(command.responseTopic());
                properties.setCorrelationData(bytes(command.correlationData()));
            }
            tokens.add(client.publish(command.topic(), new MqttMessage(bytes(payload), command.qos(), command.retain(), properties)));
        }
        IMqttToken last = null;
        for (IMqttToken token : tokens) {
            last = token;
            token.waitForCompletion(Lines.WAIT_MILLISECONDS);
        }
        int code = last.getReasonCodes() == null ? 0 : last.getReasonCodes()[0];
        MqttProperties properties = last.getResponseProperties();
        return new Lines.Answer(false, code, properties == null ? List.of() : pairs(properties.getUserProperties()));
    }

    @Override
    public Lines.Answer disconnect(Lines.Command command) throws MqttException {
        MqttAsyncClient client = clients.remove(command.client());
        client.disconnect().waitForCompletion(Lines.WAIT_MILLISECONDS);
        client.close();
        return new Lines.Answer(false, 0);
    }

    private static List<List<String>> pairs(List<UserProperty> properties) {
        List<List<String>> result = new ArrayList<>();
        for (UserProperty property : properties) result.add(List.of(property.getKey(), property.getValue()));
        return result;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
