module lacre/interop/firstsvid

go 1.26.6

require (
	github.com/spiffe/go-spiffe/v2 v2.9.0
	golang.org/x/net v0.48.0
	google.golang.org/protobuf v1.36.12
)
