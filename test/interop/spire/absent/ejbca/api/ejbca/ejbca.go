// Package ejbca fills the place of the EJBCA client, which the Go module proxy does not have. SPIRE has one plugin, an
// upstream authority, that is compiled against it; Lacre's interop tests never load that plugin. Every call fails.
package ejbca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// ErrNotBuilt is what every call ends with.
var ErrNotBuilt = errors.New("this SPIRE was built without the EJBCA client")

type (
	// Authenticator would make HTTP clients that authenticate to EJBCA.
	Authenticator interface {
		GetHTTPClient() (*http.Client, error)
	}
	// MTLSAuthenticatorBuilder keeps nothing: Build fails.
	MTLSAuthenticatorBuilder struct{}
	// Configuration is read by nobody but NewAPIClient, which fails.
	Configuration struct{ Host string }
	// APIClient is never made.
	APIClient struct{ V1CertificateApi *V1CertificateApi }
	// V1CertificateApi has the one call that SPIRE uses.
	V1CertificateApi struct{}
	// ApiEnrollPkcs10CertificateRequest fails when executed.
	ApiEnrollPkcs10CertificateRequest struct{ ctx context.Context }
	// EnrollCertificateRestRequest takes what it is told, and keeps nothing.
	EnrollCertificateRestRequest struct{}
	// CertificateRestResponse is never returned.
	CertificateRestResponse struct{ CertificateChain []string }
	// GenericOpenAPIError is never returned.
	GenericOpenAPIError struct{ body []byte }
)

func NewMTLSAuthenticatorBuilder() *MTLSAuthenticatorBuilder { return new(MTLSAuthenticatorBuilder) }

func (b *MTLSAuthenticatorBuilder) WithClientCertificate(*tls.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

func (b *MTLSAuthenticatorBuilder) WithCaCertificates([]*x509.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

func (*MTLSAuthenticatorBuilder) Build() (Authenticator, error) { return nil, ErrNotBuilt }

func NewConfiguration() *Configuration { return new(Configuration) }

func (*Configuration) SetAuthenticator(Authenticator) {}

func NewAPIClient(*Configuration) (*APIClient, error) { return nil, ErrNotBuilt }

func (*V1CertificateApi) EnrollPkcs10Certificate(ctx context.Context) ApiEnrollPkcs10CertificateRequest {
	return ApiEnrollPkcs10CertificateRequest{ctx: ctx}
}

func (r ApiEnrollPkcs10CertificateRequest) EnrollCertificateRestRequest(EnrollCertificateRestRequest) ApiEnrollPkcs10CertificateRequest {
	return r
}

func (r ApiEnrollPkcs10CertificateRequest) Execute() (*CertificateRestResponse, *http.Response, error) {
	return nil, nil, errors.Join(ErrNotBuilt, r.ctx.Err())
}

func NewEnrollCertificateRestRequest() *EnrollCertificateRestRequest {
	return new(EnrollCertificateRestRequest)
}

func (*EnrollCertificateRestRequest) SetUsername(string)                 {}
func (*EnrollCertificateRestRequest) SetPassword(string)                 {}
func (*EnrollCertificateRestRequest) SetCertificateRequest(string)       {}
func (*EnrollCertificateRestRequest) SetCertificateAuthorityName(string) {}
func (*EnrollCertificateRestRequest) SetCertificateProfileName(string)   {}
func (*EnrollCertificateRestRequest) SetEndEntityProfileName(string)     {}
func (*EnrollCertificateRestRequest) SetIncludeChain(bool)               {}
func (*EnrollCertificateRestRequest) SetAccountBindingId(string)         {}

func (*CertificateRestResponse) GetResponseFormat() string { return "" }
func (*CertificateRestResponse) GetCertificate() string    { return "" }

func (*GenericOpenAPIError) Error() string  { return ErrNotBuilt.Error() }
func (e *GenericOpenAPIError) Body() []byte { return e.body }
