module lacre/interop/spire

go 1.26.6

require github.com/spiffe/spire v1.15.3

// The module proxy does not have this one: see absent/ejbca.
replace github.com/Keyfactor/ejbca-go-client-sdk => ./absent/ejbca
