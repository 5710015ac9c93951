package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// event is one line on stdout of a program that holds streams.
type event struct {
	// Workload is its number, from 0.
	Workload int `json:"workload"`
	// Kind: "svid" (the first, or a new one), "end".
	Kind string `json:"kind"`
	// UnixMs is the time of day, in milliseconds.
	UnixMs float64 `json:"unixMs"`
	Why    string  `json:"why,omitempty"`
}

// holdStreams opens one stream from each container and tells what comes until stdin ends: SVIDs, and ends of streams.
func holdStreams(given options) error {
	doors, err := openDoors(given)
	if err != nil {
		return err
	}
	var lock sync.Mutex
	out := json.NewEncoder(os.Stdout)
	tell := func(e event) {
		e.UnixMs = float64(time.Now().UnixMicro()) / 1000
		lock.Lock()
		defer lock.Unlock()
		_ = out.Encode(e)
	}
	for i, door := range doors {
		go holdOne(given, i, door, tell)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func holdOne(given options, index int, door *net.UnixConn, tell func(event)) {
	s, _, err := firstMessage(door, given)
	if s != nil {
		defer s.close()
	}
	for err == nil {
		tell(event{Workload: index, Kind: "svid"})
		if err = s.connection.SetReadDeadline(time.Time{}); err == nil {
			_, err = s.next()
		}
	}
	tell(event{Workload: index, Kind: "end", Why: fmt.Sprint(err)})
}
