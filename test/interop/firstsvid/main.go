// Firstsvid asks a SPIFFE Workload API for first X.509-SVIDs, many at once, and prints one JSON object: how many came, for
// which SPIFFE IDs, how long they took, and what the others failed with.
//
// Each workload is a process of its own with the unmodified go-spiffe library, since a Workload API knows its callers by
// their process; with -uid each also has a user of its own (root only), with -doors each runs in a container (door.go).
// With -light all workloads are connections of this one process, made in the containers (light.go): what clients cost is
// then small.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// options are the command line.
type options struct {
	socket  string
	count   int
	uid     int
	doors   []string
	timeout time.Duration
	turns   bool
	samples bool
}

func main() {
	var given options
	flag.StringVar(&given.socket, "socket", os.Getenv("SPIFFE_ENDPOINT_SOCKET"), "address of the Workload API, unix:///path, as the workloads see it")
	flag.IntVar(&given.count, "n", 1, "workloads that ask at once")
	flag.IntVar(&given.uid, "uid", -1, "user of the first workload, the next has the next; -1: our own")
	flag.DurationVar(&given.timeout, "timeout", 60*time.Second, "for each workload")
	flag.BoolVar(&given.turns, "turns", false, "one workload after the other, not all at once (with -light)")
	flag.BoolVar(&given.samples, "samples", false, "print what each workload waited as well")
	one := flag.Bool("one", false, "be one of the workloads (used by this program itself)")
	doors := flag.String("doors", "", "file with one container's door a line; workload i is behind line i")
	light := flag.Bool("light", false, "connections of this process instead of processes (with -doors)")
	hold := flag.Bool("hold", false, "keep the streams, and tell what comes, until stdin ends (with -light)")
	flag.Parse()
	if *one {
		emit(ask(given.socket, given.timeout))
		return
	}
	var err error
	if given.doors, err = readDoors(*doors, given.count); err != nil {
		fail(err)
	}
	var result summary
	switch {
	case *hold:
		err = holdStreams(given)
	case *light:
		result, err = askLightly(given)
	default:
		result, err = askMany(given)
	}
	if err != nil {
		fail(err)
	}
	if *hold {
		return
	}
	emit(result)
	if result.Got != result.Asked {
		os.Exit(1)
	}
}

func emit(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "firstsvid:", err)
	os.Exit(2)
}
