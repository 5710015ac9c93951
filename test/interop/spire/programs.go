//go:build programs

// Package programs names the unmodified programs of SPIRE that the interop tests run.
package programs

import (
	_ "github.com/spiffe/spire/cmd/spire-agent"
	_ "github.com/spiffe/spire/cmd/spire-server"
)
