// Paho Go for MQTT 5 (autopaho) as a child of a test. Arguments: port, protocol version (5).
package main

import (
	"context"
	"net/url"
	"os"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
	"onehop.test/clients/lines"
)

const waitTime = 20 * time.Second

var clients = map[string]*autopaho.ConnectionManager{}

// The client's half of a session outlives its connection; without it the library starts with another Packet Identifier window than the broker.
var sessions = map[string]session.SessionManager{}

func pairs(properties paho.UserProperties) [][2]string {
	var result [][2]string
	for _, property := range properties {
		result = append(result, [2]string{property.Key, property.Value})
	}
	return result
}

func connect(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	server, err := url.Parse("mqtt://127.0.0.1:" + os.Args[1])
	if err != nil {
		return lines.Answer{}, err
	}
	if command.SessionSeconds == 0 || sessions[command.ClientID] == nil {
		sessions[command.ClientID] = state.NewInMemory()
	}
	name := command.Client
	connected := make(chan bool, 1)
	failed := make(chan error, 1)
	config := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{server},
		CleanStartOnInitialConnection: command.SessionSeconds == 0,
		SessionExpiryInterval:         command.SessionSeconds,
		OnConnectionUp:                func(_ *autopaho.ConnectionManager, connack *paho.Connack) { connected <- connack.SessionPresent },
		OnConnectError: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
		ClientConfig: paho.ClientConfig{
			ClientID: command.ClientID,
			Session:  sessions[command.ClientID],
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
				packet := received.Packet
				message := lines.Message{
					Topic: packet.Topic, Payload: string(packet.Payload), QoS: packet.QoS, Retain: packet.Retain,
					UserProperties: pairs(packet.Properties.User),
				}
				if packet.Properties.CorrelationData != nil {
					text := string(packet.Properties.CorrelationData)
					message.CorrelationData = &text
				}
				lines.Received(name, message)
				return true, nil
			}},
		},
	}
	if command.Will != nil {
		config.WillMessage = &paho.WillMessage{
			Topic: command.Will.Topic, Payload: []byte(command.Will.Payload), QoS: command.Will.QoS, Retain: command.Will.Retain,
		}
	}
	manager, err := autopaho.NewConnection(context.Background(), config)
	if err != nil {
		return lines.Answer{}, err
	}
	select {
	case sessionPresent := <-connected:
		clients[name] = manager
		return lines.Answer{SessionPresent: sessionPresent}, nil
	case err := <-failed:
		return lines.Answer{}, err
	case <-ctx.Done():
		return lines.Answer{}, ctx.Err()
	}
}

func subscribe(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	suback, err := clients[command.Client].Subscribe(ctx, &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: command.Filter, QoS: command.QoS}},
	})
	if suback == nil {
		return lines.Answer{}, err
	}
	return lines.Answer{Code: suback.Reasons[0]}, nil
}

func publish(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	var answer lines.Answer
	for _, payload := range command.Payloads {
		packet := &paho.Publish{
			Topic: command.Topic, QoS: command.QoS, Retain: command.Retain, Payload: []byte(payload), Properties: &paho.PublishProperties{},
		}
		for _, pair := range command.UserProperties {
			packet.Properties.User.Add(pair[0], pair[1])
		}
		if command.ResponseTopic != "" {
			packet.Properties.ResponseTopic = command.ResponseTopic
			packet.Properties.CorrelationData = []byte(command.CorrelationData)
		}
		response, err := clients[command.Client].Publish(ctx, packet)
		if response == nil && err != nil {
			return answer, err
		}
		if response != nil {
			answer.Code = response.ReasonCode
			if response.Properties != nil {
				answer.UserProperties = pairs(response.Properties.User)
			}
		}
	}
	return answer, nil
}

func main() {
	lines.Serve(func(command *lines.Command) (lines.Answer, error) {
		ctx, cancel := context.WithTimeout(context.Background(), waitTime)
		defer cancel()
		switch command.Do {
		case "connect":
			return connect(ctx, command)
		case "subscribe":
			return subscribe(ctx, command)
		case "publish":
			return publish(ctx, command)
		default:
			return lines.Answer{}, clients[command.Client].Disconnect(ctx)
		}
	})
}
