module lacre/lab/spiffe-service

go 1.26.6

require (
	github.com/spiffe/go-spiffe/v2 v2.9.0
	google.golang.org/grpc v1.79.3
)
