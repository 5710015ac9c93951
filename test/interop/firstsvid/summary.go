package main

import (
	"slices"
	"strings"
)

// summary is what this program prints.
type summary struct {
	Asked     int                `json:"asked"`
	Got       int                `json:"got"`
	SpiffeIDs map[string]int     `json:"spiffeIds"`
	Errors    map[string]int     `json:"errors"`
	Ms        map[string]float64 `json:"ms"`
	WallMs    float64            `json:"wallMs"`
	NotAfter  string             `json:"firstNotAfter,omitempty"`
	Samples   []float64          `json:"samples,omitempty"`
}

func summarize(given options, answers []answer, wallMs float64) summary {
	result := summary{Asked: given.count, SpiffeIDs: map[string]int{}, Errors: map[string]int{}, Ms: map[string]float64{}, WallMs: wallMs}
	var took []float64
	for _, a := range answers {
		if a.Error != "" {
			result.Errors[strings.ReplaceAll(a.Error, "\n", " ")]++
			continue
		}
		result.Got++
		result.SpiffeIDs[a.SpiffeID]++
		result.NotAfter = a.NotAfter
		took = append(took, a.Millisecond)
	}
	describe(took, result.Ms)
	if given.samples {
		result.Samples = took
	}
	return result
}

// describe sorts what it is given.
func describe(took []float64, ms map[string]float64) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	sum := 0.0
	for _, one := range took {
		sum += one
	}
	part := func(q float64) float64 { return took[int(q*float64(len(took)-1))] }
	ms["mean"] = sum / float64(len(took))
	ms["p50"], ms["p95"], ms["p99"], ms["max"] = part(0.5), part(0.95), part(0.99), part(1)
}
