package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

const gRPCPrefixBytes = 5

// stream is one FetchX509SVID on a connection of its own, down at the frames: a gRPC library would cost more than what is
// measured.
type stream struct {
	door       *net.UnixConn
	connection net.Conn
	framer     *http2.Framer
	received   []byte
}

// askLightly takes first X.509-SVIDs, one from each container, all at once or in turns. Clocks begin with the order to
// connect; at once, all of them begin together. SVIDs are checked after the last clock has stopped.
func askLightly(given options) (summary, error) {
	doors, err := openDoors(given)
	if err != nil {
		return summary{}, err
	}
	answers := make([]answer, given.count)
	messages := make([][]byte, given.count)
	fetch := func(i int, began time.Time) {
		s, message, err := firstMessage(doors[i], given)
		answers[i].Millisecond = since(began)
		if err != nil {
			answers[i].Error = err.Error()
		}
		if s != nil {
			defer s.close()
		}
		messages[i] = message
	}
	began := time.Now()
	if given.turns {
		for i := range doors {
			fetch(i, time.Now())
		}
	} else {
		var all sync.WaitGroup
		for i := range doors {
			all.Go(func() { fetch(i, began) })
		}
		all.Wait()
	}
	wallMs := since(began)
	for i, message := range messages {
		if answers[i].Error == "" {
			answers[i] = check(message, answers[i].Millisecond)
		}
	}
	return summarize(given, answers, wallMs), nil
}

func openDoors(given options) ([]*net.UnixConn, error) {
	if len(given.doors) == 0 {
		return nil, errors.New("-light needs -doors")
	}
	doors := make([]*net.UnixConn, given.count)
	for i := range doors {
		door, err := openDoor(given.doors[i])
		if err != nil {
			return nil, err
		}
		doors[i] = door
	}
	return doors, nil
}

func firstMessage(door *net.UnixConn, given options) (*stream, []byte, error) {
	connection, err := dialThrough(door, given.socket)
	if err != nil {
		return nil, nil, err
	}
	s := &stream{door: door, connection: connection, framer: http2.NewFramer(connection, connection)}
	if err := connection.SetReadDeadline(time.Now().Add(given.timeout)); err != nil {
		return s, nil, err
	}
	if _, err := connection.Write(opening); err != nil {
		return s, nil, err
	}
	message, err := s.next()
	return s, message, err
}

// opening is everything that the client says: preface, settings with a large window, and the request.
var opening = func() []byte {
	var out, headers bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	encoder := hpack.NewEncoder(&headers)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/SpiffeWorkloadAPI/FetchX509SVID"}, {":authority", "localhost"},
		{"content-type", "application/grpc"}, {"te", "trailers"}, {"workload.spiffe.io", "true"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, true, make([]byte, gRPCPrefixBytes))
	return out.Bytes()
}()

// next returns the stream's next message, or an error with the status that it ended with.
func (s *stream) next() ([]byte, error) {
	for {
		if message, ok := s.take(); ok {
			return message, nil
		}
		frame, err := s.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = s.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = s.framer.WritePing(true, frame.Data)
			}
		case *http2.DataFrame:
			s.received = append(s.received, frame.Data()...)
			if n := uint32(len(frame.Data())); n > 0 {
				err = errors.Join(s.framer.WriteWindowUpdate(0, n), s.framer.WriteWindowUpdate(1, n))
			}
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				return nil, statusOf(frame)
			}
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("the stream was reset: %v", frame.ErrCode)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *stream) take() ([]byte, bool) {
	if len(s.received) < gRPCPrefixBytes {
		return nil, false
	}
	end := gRPCPrefixBytes + int(binary.BigEndian.Uint32(s.received[1:]))
	if len(s.received) < end {
		return nil, false
	}
	message := s.received[gRPCPrefixBytes:end]
	s.received = s.received[end:]
	return message, true
}

func (s *stream) close() {
	_ = s.connection.Close()
	_ = s.door.Close()
}

func statusOf(frame *http2.HeadersFrame) error {
	var said []string
	decoder := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if strings.HasPrefix(field.Name, "grpc-") {
			said = append(said, field.Name+": "+field.Value)
		}
	})
	_, _ = decoder.Write(frame.HeaderBlockFragment())
	return fmt.Errorf("the stream ended: %s", strings.Join(said, ", "))
}

// check parses what a stream brought and verifies the first SVID by the bundle beside it.
func check(message []byte, took float64) answer {
	var response workload.X509SVIDResponse
	if err := proto.Unmarshal(message, &response); err != nil || len(response.Svids) == 0 {
		return answer{Error: fmt.Sprintf("no SVID came: %v", err), Millisecond: took}
	}
	first := response.Svids[0]
	svid, err := x509svid.ParseRaw(first.X509Svid, first.X509SvidKey)
	if err != nil {
		return answer{Error: err.Error(), Millisecond: took}
	}
	bundle, err := x509bundle.ParseRaw(spiffeid.RequireFromString(first.SpiffeId).TrustDomain(), first.Bundle)
	if err != nil {
		return answer{Error: err.Error(), Millisecond: took}
	}
	if _, _, err := x509svid.Verify(svid.Certificates, bundle); err != nil {
		return answer{Error: "svid does not verify: " + err.Error(), Millisecond: took}
	}
	return answerOf(svid, took)
}
