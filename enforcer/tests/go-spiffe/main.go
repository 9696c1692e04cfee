// Judges a Workload API and a sidecar: URL of the sidecar, its SPIFFE ID, our SPIFFE ID.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type watcher struct{ updates chan *workloadapi.X509Context }

func (w watcher) OnX509ContextUpdate(c *workloadapi.X509Context) { w.updates <- c }
func (w watcher) OnX509ContextWatchError(error)                  {}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	url, server, own := os.Args[1], spiffeid.RequireFromString(os.Args[2]), os.Args[3]
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	check(err)
	defer client.Close()

	first, err := client.FetchX509Context(ctx)
	check(err)
	var ours *x509svid.SVID
	for _, svid := range first.SVIDs {
		_, _, err := x509svid.Verify(svid.Certificates, first.Bundles)
		check(err)
		if svid.ID.String() == own {
			ours = svid
		}
	}
	fmt.Println("verified", len(first.SVIDs))
	bundles, err := client.FetchX509Bundles(ctx)
	check(err)
	fmt.Println("bundles", bundles.Len())

	config := tlsconfig.MTLSClientConfig(ours, bundles, tlsconfig.AuthorizeID(server))
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get(url)
	check(err)
	_, err = io.ReadAll(response.Body)
	check(err)
	fmt.Println("asked", response.StatusCode)

	updates := make(chan *workloadapi.X509Context, 16)
	go client.WatchX509Context(ctx, watcher{updates})
	var seen string
	for {
		select {
		case <-ctx.Done():
			check(ctx.Err())
		case update := <-updates:
			serial := update.DefaultSVID().Certificates[0].SerialNumber.String()
			if seen != "" && seen != serial {
				fmt.Println("renewed")
				return
			}
			seen = serial
		}
	}
}
