// Sends CloudEvents with the SDK for Go as it comes: in the binary mode unless "structured" is asked for.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// Arguments: the address, a bearer token, the mode ("" or "structured"), and the events, each as JSON of {"id","source","type","data"}.
func main() {
	header := http.Header{"Authorization": {"Bearer " + os.Args[2]}}
	client, err := cloudevents.NewClientHTTP(cehttp.WithTarget(os.Args[1]), cehttp.WithHeader("Authorization", header.Get("Authorization")))
	if err != nil {
		fail(err)
	}
	ctx := context.Background()
	if os.Args[3] == "structured" {
		ctx = binding.WithForceStructured(ctx)
	}
	for _, text := range os.Args[4:] {
		var given struct {
			ID, Source, Type string
			Data             json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			fail(err)
		}
		event := cloudevents.NewEvent()
		event.SetID(given.ID)
		event.SetSource(given.Source)
		event.SetType(given.Type)
		if err := event.SetData(cloudevents.ApplicationJSON, given.Data); err != nil {
			fail(err)
		}
		result := client.Send(ctx, event)
		var answered *cehttp.Result
		if !protocol.ResultAs(result, &answered) {
			fail(result)
		}
		fmt.Println(answered.StatusCode)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
