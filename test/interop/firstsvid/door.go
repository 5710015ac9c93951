package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// A door is the unix socket on which a container's first process takes orders (test/simulator/door.c): "run ARGUMENTS"
// executes the image's client with the connection as its standard streams; "dial PATH" connects to a unix socket as a
// process of the container and hands the connection over.

// readDoors returns the first count lines of a file; none where there is no file.
func readDoors(path string, count int) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	doors := strings.Fields(string(text))
	if len(doors) < count {
		return nil, fmt.Errorf("%s names %d doors; %d are needed", path, len(doors), count)
	}
	return doors[:count], nil
}

func openDoor(door string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: door, Net: "unix"})
}

// dialThrough returns a connection to the address that a process of the container has made. The process lives for as long
// as the door's connection does.
func dialThrough(door *net.UnixConn, address string) (net.Conn, error) {
	if _, err := fmt.Fprintf(door, "dial %s\n", strings.TrimPrefix(address, "unix://")); err != nil {
		return nil, err
	}
	control := make([]byte, syscall.CmsgSpace(4))
	_, length, _, _, err := door.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(control[:length])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("the door handed no connection over"), err)
	}
	rights, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(rights) != 1 {
		return nil, errors.Join(errors.New("the door handed no connection over"), err)
	}
	file := os.NewFile(uintptr(rights[0]), "workload")
	defer file.Close()
	return net.FileConn(file)
}
