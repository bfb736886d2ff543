// Paho Go for MQTT 5 with SCRAM-SHA-256 of xdg-go as a child of a test. Arguments: port, protocol version (5).
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/xdg-go/scram"
	"onehop.test/clients/lines"
)

const method = "SCRAM-SHA-256"

const waitTime = 20 * time.Second

// dialog is one client and the exchange that it is in.
type dialog struct {
	client       *paho.Client
	conversation *scram.ClientConversation
	failure      error
}

var dialogs = map[string]*dialog{}

func (d *dialog) begin(command *lines.Command) ([]byte, error) {
	account, err := scram.SHA256.NewClient(command.Username, command.Password, "")
	if err != nil {
		return nil, err
	}
	d.conversation = account.NewConversation()
	first, err := d.conversation.Step("")
	return []byte(first), err
}

// Authenticate answers a challenge of the broker.
func (d *dialog) Authenticate(challenge *paho.Auth) *paho.Auth {
	answer, err := d.conversation.Step(string(challenge.Properties.AuthData))
	if err != nil {
		d.failure = err
	}
	return &paho.Auth{ReasonCode: 0x18, Properties: &paho.AuthProperties{AuthMethod: challenge.Properties.AuthMethod, AuthData: []byte(answer)}}
}

// Authenticated is told of the end of an exchange.
func (d *dialog) Authenticated() {}

func connect(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	connection, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		return lines.Answer{}, err
	}
	d := &dialog{}
	first, err := d.begin(command)
	if err != nil {
		return lines.Answer{}, err
	}
	d.client = paho.NewClient(paho.ClientConfig{
		Conn:        connection,
		AuthHandler: d,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
			lines.Received(command.Client, lines.Message{Topic: received.Packet.Topic, Payload: string(received.Packet.Payload)})
			return true, nil
		}},
	})
	connack, err := d.client.Connect(ctx, &paho.Connect{
		ClientID: command.ClientID, CleanStart: true, KeepAlive: 30,
		Properties: &paho.ConnectProperties{AuthMethod: method, AuthData: first},
	})
	if d.failure != nil {
		return lines.Answer{}, d.failure
	}
	if connack != nil && connack.ReasonCode != 0 {
		return lines.Answer{}, fmt.Errorf("refused with %#x", connack.ReasonCode)
	}
	if err != nil {
		return lines.Answer{}, err
	}
	// The signature of the broker: it knows the password, too.
	if _, err := d.conversation.Step(string(connack.Properties.AuthData)); err != nil {
		return lines.Answer{}, err
	}
	if !d.conversation.Valid() || connack.Properties.AuthMethod != method {
		return lines.Answer{}, fmt.Errorf("the broker has not proved that it knows the password")
	}
	dialogs[command.Client] = d
	return lines.Answer{}, nil
}

// authenticate proves anew who the client is. The library hides the data of AUTH 0x00, so the signature in it cannot be checked.
func authenticate(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	d := dialogs[command.Client]
	first, err := d.begin(command)
	if err != nil {
		return lines.Answer{}, err
	}
	response, err := d.client.Authenticate(ctx, &paho.Auth{ReasonCode: 0x19, Properties: &paho.AuthProperties{AuthMethod: method, AuthData: first}})
	if err != nil {
		return lines.Answer{}, err
	}
	return lines.Answer{Code: response.ReasonCode}, d.failure
}

func subscribe(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	suback, err := dialogs[command.Client].client.Subscribe(ctx, &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: command.Filter, QoS: command.QoS}},
	})
	if suback == nil {
		return lines.Answer{}, err
	}
	return lines.Answer{Code: suback.Reasons[0]}, nil
}

func publish(ctx context.Context, command *lines.Command) (lines.Answer, error) {
	for _, payload := range command.Payloads {
		packet := &paho.Publish{Topic: command.Topic, QoS: command.QoS, Payload: []byte(payload)}
		if _, err := dialogs[command.Client].client.Publish(ctx, packet); err != nil {
			return lines.Answer{}, err
		}
	}
	return lines.Answer{}, nil
}

func main() {
	lines.Serve(func(command *lines.Command) (lines.Answer, error) {
		ctx, cancel := context.WithTimeout(context.Background(), waitTime)
		defer cancel()
		switch command.Do {
		case "connect":
			return connect(ctx, command)
		case "authenticate":
			return authenticate(ctx, command)
		case "subscribe":
			return subscribe(ctx, command)
		case "publish":
			return publish(ctx, command)
		default:
			return lines.Answer{}, dialogs[command.Client].client.Disconnect(&paho.Disconnect{})
		}
	})
}
