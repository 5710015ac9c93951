module lacre/interop/firstsvid

go 1.26.6

require github.com/spiffe/go-spiffe/v2 v2.9.0
