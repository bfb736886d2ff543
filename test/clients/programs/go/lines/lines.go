// Package lines lets a test drive a client library: commands come as JSON lines on standard input, answers and messages leave as JSON lines on standard
// output. It knows nothing of MQTT.
package lines

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Will is the message that the broker publishes when the connection breaks.
type Will struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	QoS     byte   `json:"qos"`
	Retain  bool   `json:"retain"`
}

// Command is one request of the test.
type Command struct {
	ID              int         `json:"id"`
	Do              string      `json:"do"`
	Client          string      `json:"client"`
	ClientID        string      `json:"clientId"`
	Username        string      `json:"username"`
	Password        string      `json:"password"`
	SessionSeconds  uint32      `json:"sessionSeconds"`
	Will            *Will       `json:"will"`
	Filter          string      `json:"filter"`
	Topic           string      `json:"topic"`
	Payloads        []string    `json:"payloads"`
	QoS             byte        `json:"qos"`
	Retain          bool        `json:"retain"`
	UserProperties  [][2]string `json:"userProperties"`
	ResponseTopic   string      `json:"responseTopic"`
	CorrelationData string      `json:"correlationData"`
}

// Message is what a client has received.
type Message struct {
	Topic           string      `json:"topic"`
	Payload         string      `json:"payload"`
	QoS             byte        `json:"qos"`
	Retain          bool        `json:"retain"`
	UserProperties  [][2]string `json:"userProperties"`
	CorrelationData *string     `json:"correlationData"`
}

// Answer is what became of a command.
type Answer struct {
	SessionPresent bool        `json:"sessionPresent"`
	Code           byte        `json:"code"`
	UserProperties [][2]string `json:"userProperties"`
}

var output sync.Mutex

func say(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

// Received reports a message of one client.
func Received(client string, message Message) {
	say(map[string]any{"client": client, "message": message})
}

// Serve obeys commands until standard input ends.
func Serve(obey func(command *Command) (Answer, error)) {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<24)
	for input.Scan() {
		var command Command
		if err := json.Unmarshal(input.Bytes(), &command); err != nil {
			panic(err)
		}
		answer, err := obey(&command)
		if err != nil {
			say(map[string]any{"id": command.ID, "error": err.Error()})
		} else {
			say(map[string]any{"id": command.ID, "answer": answer})
		}
	}
}
