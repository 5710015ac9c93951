package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// answer is what one workload writes to its stdout.
type answer struct {
	SpiffeID    string  `json:"spiffeId,omitempty"`
	NotAfter    string  `json:"notAfter,omitempty"`
	Millisecond float64 `json:"ms"`
	Error       string  `json:"error,omitempty"`
}

// ask waits for a line on stdin, so that all workloads begin together, then takes one SVID and checks it against the
// bundle that comes with it.
func ask(socket string, timeout time.Duration) answer {
	fmt.Fprintln(os.Stderr, "ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return answer{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	began := time.Now()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(socket))
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer client.Close()
	update, err := client.FetchX509Context(ctx)
	took := since(began)
	if err != nil {
		return answer{Error: err.Error(), Millisecond: took}
	}
	svid := update.DefaultSVID()
	if _, _, err := x509svid.Verify(svid.Certificates, update.Bundles); err != nil {
		return answer{Error: "svid does not verify: " + err.Error(), Millisecond: took}
	}
	return answerOf(svid, took)
}

func answerOf(svid *x509svid.SVID, took float64) answer {
	return answer{SpiffeID: svid.ID.String(), NotAfter: svid.Certificates[0].NotAfter.UTC().Format(time.RFC3339), Millisecond: took}
}

func since(began time.Time) float64 {
	return float64(time.Since(began).Microseconds()) / 1000
}
