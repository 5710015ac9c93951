package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a workload that runs by itself: a line releases it, one JSON object is its answer.
type process struct {
	in   io.Writer
	out  *bufio.Reader
	wait func()
}

// askMany releases all workloads together once each is ready to ask.
func askMany(given options) (summary, error) {
	workloads := make([]process, given.count)
	for i := range workloads {
		var err error
		if len(given.doors) > 0 {
			workloads[i], err = startBehind(given.doors[i], given)
		} else {
			workloads[i], err = start(given, i)
		}
		if err != nil {
			return summary{}, fmt.Errorf("starting workload %d: %w", i, err)
		}
	}
	for i, w := range workloads {
		if line, err := w.out.ReadString('\n'); err != nil || line != "ready\n" {
			return summary{}, fmt.Errorf("workload %d never became ready: %q %v", i, line, err)
		}
	}
	began := time.Now()
	for _, w := range workloads {
		fmt.Fprintln(w.in)
	}
	answers := make([]answer, given.count)
	for i, w := range workloads {
		if err := json.NewDecoder(w.out).Decode(&answers[i]); err != nil {
			answers[i].Error = err.Error()
		}
		w.wait()
	}
	return summarize(given, answers, since(began)), nil
}

// start runs this program anew as one workload. It writes that it is ready to stderr, which is the same pipe as stdout.
func start(given options, index int) (process, error) {
	command := exec.Command("/proc/self/exe", workloadArguments(given)...)
	if given.uid >= 0 {
		id := uint32(given.uid + index)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	stdin, err := command.StdinPipe()
	if err != nil {
		return process{}, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return process{}, err
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return process{}, err
	}
	return process{in: stdin, out: bufio.NewReader(stdout), wait: func() { _ = command.Wait() }}, nil
}

// startBehind has a container's door run this program, which the image holds as /bin/client.
func startBehind(door string, given options) (process, error) {
	connection, err := openDoor(door)
	if err != nil {
		return process{}, err
	}
	if _, err := fmt.Fprintf(connection, "run %s\n", strings.Join(workloadArguments(given), " ")); err != nil {
		return process{}, err
	}
	return process{in: connection, out: bufio.NewReader(connection), wait: func() { _ = connection.Close() }}, nil
}

func workloadArguments(given options) []string {
	return []string{"-one", "-socket", given.socket, "-timeout", given.timeout.String()}
}
