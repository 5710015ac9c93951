// Service is the demo's service where identities come from SPIRE: a program that knows go-spiffe and nothing of Lacre.
// It keeps the stream of the Workload API open; while it has an identity it serves mTLS on its socket in the mesh
// folder, and calls each other service there until both have proven themselves. It says what happens in JSON lines on
// its standard output, in the words of the demo's other service (deploy/lab/demo/service.c).
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

const (
	workloadSocket = "/run/lacre/agent/workload.sock"
	mesh           = "/run/lacre/mesh"
	callInterval   = 300 * time.Millisecond
	callTimeout    = 5 * time.Second
	waitInterval   = 250 * time.Millisecond
	retryMost      = 2 * time.Second
)

// say prints one event. What it prints with are pairs of name and text.
func say(event string, pairs ...string) {
	line := map[string]any{"timeUnixMs": time.Now().UnixMilli(), "event": event}
	for i := 0; i+1 < len(pairs); i += 2 {
		line[pairs[i]] = pairs[i+1]
	}
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

// identity is what the Workload API gave last; nil: nothing, or it was taken away.
type identity struct {
	mutex   sync.Mutex
	context *workloadapi.X509Context
}

func (id *identity) get() *workloadapi.X509Context {
	id.mutex.Lock()
	defer id.mutex.Unlock()
	return id.context
}

func (id *identity) swap(next *workloadapi.X509Context) (before *workloadapi.X509Context) {
	id.mutex.Lock()
	defer id.mutex.Unlock()
	before, id.context = id.context, next
	return before
}

// GetX509SVID is of x509svid.Source: a handshake uses the identity of the moment.
func (id *identity) GetX509SVID() (*x509svid.SVID, error) {
	if held := id.get(); held != nil {
		return held.DefaultSVID(), nil
	}
	return nil, fmt.Errorf("there is no identity")
}

// GetX509BundleForTrustDomain is of x509bundle.Source.
func (id *identity) GetX509BundleForTrustDomain(domain spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if held := id.get(); held != nil {
		return held.Bundles.GetX509BundleForTrustDomain(domain)
	}
	return nil, fmt.Errorf("there is no identity")
}

// OnX509ContextUpdate is of workloadapi.X509ContextWatcher.
func (id *identity) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svid := update.DefaultSVID()
	leaf := svid.Certificates[0]
	if _, _, err := x509svid.Verify(svid.Certificates, update.Bundles); err != nil {
		say("error", "message", "the SVID does not verify: "+err.Error())
		return
	}
	before := id.swap(update)
	say("identity", "spiffeId", svid.ID.String(), "serial", leaf.SerialNumber.Text(16),
		"expiresUnix", strconv.FormatInt(leaf.NotAfter.Unix(), 10))
	if before == nil {
		go id.serve(svid.ID)
		go id.callOthers(svid.ID)
	}
}

// OnX509ContextWatchError is of workloadapi.X509ContextWatcher.
func (id *identity) OnX509ContextWatchError(err error) {
	event := "refused"
	if id.swap(nil) != nil {
		event = "ended"
	}
	fault := status.Convert(err)
	say(event, "grpcStatus", strconv.Itoa(int(fault.Code())), "message", fault.Message())
}

func nameOf(id spiffeid.ID) string {
	return path.Base(id.Path())
}

// serve tells each peer as whom it was seen, for as long as there is an identity.
func (id *identity) serve(own spiffeid.ID) {
	socket := filepath.Join(mesh, nameOf(own)+".sock")
	_ = os.Remove(socket)
	plain, err := net.Listen("unix", socket)
	if err != nil {
		say("error", "message", err.Error())
		return
	}
	defer plain.Close()
	config := tlsconfig.MTLSServerConfig(id, id, tlsconfig.AuthorizeMemberOf(own.TrustDomain()))
	for id.get() != nil {
		connection, err := tls.NewListener(plain, config).Accept()
		if err != nil {
			return
		}
		go answer(connection.(*tls.Conn))
	}
}

func answer(connection *tls.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(callTimeout))
	if err := connection.Handshake(); err != nil {
		say("refusedCaller", "message", err.Error())
		return
	}
	peer, err := x509svid.IDFromCert(connection.ConnectionState().PeerCertificates[0])
	if err != nil {
		say("refusedCaller", "message", err.Error())
		return
	}
	say("called", "by", peer.String())
	fmt.Fprintln(connection, peer)
}

// callOthers calls every service of the mesh once.
func (id *identity) callOthers(own spiffeid.ID) {
	proven := map[string]bool{nameOf(own): true}
	for ; id.get() != nil; time.Sleep(callInterval) {
		sockets, _ := filepath.Glob(filepath.Join(mesh, "*.sock"))
		for _, socket := range sockets {
			name := strings.TrimSuffix(filepath.Base(socket), ".sock")
			if !proven[name] && id.call(socket, own.TrustDomain()) {
				proven[name] = true
			}
		}
	}
}

func (id *identity) call(socket string, domain spiffeid.TrustDomain) bool {
	plain, err := net.DialTimeout("unix", socket, callTimeout)
	if err != nil {
		return false
	}
	connection := tls.Client(plain, tlsconfig.MTLSClientConfig(id, id, tlsconfig.AuthorizeMemberOf(domain)))
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(callTimeout))
	seen, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return false
	}
	peer, err := x509svid.IDFromCert(connection.ConnectionState().PeerCertificates[0])
	if err != nil {
		return false
	}
	say("peer", "spiffeId", peer.String(), "sawUsAs", strings.TrimSpace(seen))
	return true
}

// backoff asks again sooner than go-spiffe does by itself: the demo is watched.
type backoff struct{ next time.Duration }

func (backoff) NewBackoff() workloadapi.Backoff { return &backoff{waitInterval} }

func (b *backoff) Next() time.Duration {
	now := b.next
	b.next = min(now*2, retryMost)
	return now
}

func (b *backoff) Reset() { b.next = waitInterval }

// untilServed waits until somebody listens on the Workload API's socket.
func untilServed() {
	for {
		connection, err := net.Dial("unix", workloadSocket)
		if err == nil {
			connection.Close()
			return
		}
		time.Sleep(waitInterval)
	}
}

func main() {
	syscall.Umask(0) // the mesh's sockets are for every container
	say("started")
	untilServed()
	client := workloadapi.WithAddr("unix://" + workloadSocket)
	err := workloadapi.WatchX509Context(context.Background(), &identity{}, client, workloadapi.WithBackoffStrategy(backoff{}))
	say("error", "message", err.Error())
	os.Exit(1)
}
