// Firstsvid asks a SPIFFE Workload API for first X.509-SVIDs with the unmodified go-spiffe library, many at once, and
// prints one JSON object: how many came, for which SPIFFE IDs, how long they took, and what the others failed with.
//
// Each workload is a process of its own, since a Workload API knows its callers by their process; with -uid each also
// has a user of its own (root only).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
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

type summary struct {
	Asked     int                `json:"asked"`
	Got       int                `json:"got"`
	SpiffeIDs map[string]int     `json:"spiffeIds"`
	Errors    map[string]int     `json:"errors"`
	Ms        map[string]float64 `json:"ms"`
	WallMs    float64            `json:"wallMs"`
	NotAfter  string             `json:"firstNotAfter,omitempty"`
}

func main() {
	socket := flag.String("socket", os.Getenv("SPIFFE_ENDPOINT_SOCKET"), "address of the Workload API, unix:///path")
	count := flag.Int("n", 1, "workloads that ask at once")
	uid := flag.Int("uid", -1, "user of the first workload, the next has the next; -1: our own")
	timeout := flag.Duration("timeout", 60*time.Second, "for each workload")
	one := flag.Bool("one", false, "be one of the workloads (used by this program itself)")
	flag.Parse()
	if *one {
		emit(ask(*socket, *timeout))
		return
	}
	result, err := askMany(*socket, *count, *uid, *timeout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "firstsvid:", err)
		os.Exit(2)
	}
	emit(result)
	if result.Got != result.Asked {
		os.Exit(1)
	}
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
	took := float64(time.Since(began).Microseconds()) / 1000
	if err != nil {
		return answer{Error: err.Error(), Millisecond: took}
	}
	svid := update.DefaultSVID()
	if _, _, err := x509svid.Verify(svid.Certificates, update.Bundles); err != nil {
		return answer{Error: "svid does not verify: " + err.Error(), Millisecond: took}
	}
	return answer{SpiffeID: svid.ID.String(), NotAfter: svid.Certificates[0].NotAfter.UTC().Format(time.RFC3339), Millisecond: took}
}

func askMany(socket string, count, uid int, timeout time.Duration) (summary, error) {
	workloads := make([]*workload, count)
	for i := range workloads {
		w, err := start(socket, uid, i, timeout)
		if err != nil {
			return summary{}, fmt.Errorf("starting workload %d: %w", i, err)
		}
		workloads[i] = w
	}
	began := time.Now()
	for _, w := range workloads {
		fmt.Fprintln(w.stdin)
	}
	result := summary{Asked: count, SpiffeIDs: map[string]int{}, Errors: map[string]int{}, Ms: map[string]float64{}}
	var took []float64
	for _, w := range workloads {
		var a answer
		if err := json.NewDecoder(w.stdout).Decode(&a); err != nil {
			a.Error = err.Error()
		}
		_ = w.command.Wait()
		if a.Error != "" {
			result.Errors[strings.ReplaceAll(a.Error, "\n", " ")]++
			continue
		}
		result.Got++
		result.SpiffeIDs[a.SpiffeID]++
		result.NotAfter = a.NotAfter
		took = append(took, a.Millisecond)
	}
	result.WallMs = float64(time.Since(began).Microseconds()) / 1000
	describe(took, result.Ms)
	return result, nil
}

type workload struct {
	command *exec.Cmd
	stdin   interface{ Write([]byte) (int, error) }
	stdout  interface{ Read([]byte) (int, error) }
}

// start runs this program anew as one workload and returns once it is ready to ask.
func start(socket string, uid, index int, timeout time.Duration) (*workload, error) {
	command := exec.Command("/proc/self/exe", "-one", "-socket", socket, "-timeout", timeout.String())
	if uid >= 0 {
		id := uint32(uid + index)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	if _, err := stderr.Read(make([]byte, 16)); err != nil {
		return nil, fmt.Errorf("it never became ready: %w", err)
	}
	return &workload{command: command, stdin: stdin, stdout: stdout}, nil
}

func describe(took []float64, ms map[string]float64) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	sum := 0.0
	for _, one := range took {
		sum += one
	}
	part := func(q float64) float64 { return took[int(q*float64(len(took)-1))] }
	ms["mean"] = sum / float64(len(took))
	ms["p50"], ms["p95"], ms["p99"], ms["max"] = part(0.5), part(0.95), part(0.99), part(1)
}

func emit(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fmt.Fprintln(os.Stderr, "firstsvid:", err)
		os.Exit(2)
	}
}
