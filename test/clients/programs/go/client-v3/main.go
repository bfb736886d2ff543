// Paho Go for MQTT 3.1.1 as a child of a test. Arguments: port, protocol version (3 or 4).
//
// No subscription has a handler of its own: everything arrives at the default publish handler, as messages without a subscription must.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"onehop.test/clients/lines"
)

const waitTime = 20 * time.Second

var clients = map[string]mqtt.Client{}

func wait(token mqtt.Token) error {
	if !token.WaitTimeout(waitTime) {
		return fmt.Errorf("no answer from the broker")
	}
	return token.Error()
}

func connect(command *lines.Command) (lines.Answer, error) {
	version, _ := strconv.Atoi(os.Args[2])
	options := mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:" + os.Args[1]).SetClientID(command.ClientID)
	options.SetProtocolVersion(uint(version)).SetCleanSession(command.SessionSeconds == 0).SetAutoReconnect(false)
	if command.Will != nil {
		options.SetWill(command.Will.Topic, command.Will.Payload, command.Will.QoS, command.Will.Retain)
	}
	name := command.Client
	options.SetDefaultPublishHandler(func(_ mqtt.Client, message mqtt.Message) {
		lines.Received(name, lines.Message{
			Topic: message.Topic(), Payload: string(message.Payload()), QoS: message.Qos(), Retain: message.Retained(),
		})
	})
	client := mqtt.NewClient(options)
	token := client.Connect()
	if err := wait(token); err != nil {
		return lines.Answer{}, err
	}
	clients[name] = client
	return lines.Answer{SessionPresent: token.(*mqtt.ConnectToken).SessionPresent()}, nil
}

func subscribe(command *lines.Command) (lines.Answer, error) {
	token := clients[command.Client].Subscribe(command.Filter, command.QoS, nil)
	err := wait(token)
	code, found := token.(*mqtt.SubscribeToken).Result()[command.Filter]
	if !found {
		return lines.Answer{}, err
	}
	return lines.Answer{Code: code}, nil
}

func publish(command *lines.Command) (lines.Answer, error) {
	var tokens []mqtt.Token
	for _, payload := range command.Payloads {
		tokens = append(tokens, clients[command.Client].Publish(command.Topic, command.QoS, command.Retain, payload))
	}
	for _, token := range tokens {
		if err := wait(token); err != nil {
			return lines.Answer{}, err
		}
	}
	return lines.Answer{}, nil
}

func main() {
	lines.Serve(func(command *lines.Command) (lines.Answer, error) {
		switch command.Do {
		case "connect":
			return connect(command)
		case "subscribe":
			return subscribe(command)
		case "publish":
			return publish(command)
		default:
			clients[command.Client].Disconnect(250)
			return lines.Answer{}, nil
		}
	})
}
