// Requests a page many times, each time over a new connection, with the HTTP client of Go, which fails if the response
// arrives before it has sent the request:
//
//	go run tools/go_client.go http://127.0.0.1:8080/ 5000
//
// Prints how many requests failed, and the first errors. Exits 1 if there were any.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const workers = 8

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run tools/go_client.go URL REQUESTS")
		os.Exit(2)
	}
	url := os.Args[1]
	requests, err := strconv.Atoi(os.Args[2])
	if err != nil || requests < 1 {
		fmt.Fprintln(os.Stderr, "REQUESTS must be a number above 0, such as 5000")
		os.Exit(2)
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	jobs := make(chan int)
	failures := make(chan error, requests)
	var running sync.WaitGroup
	for i := 0; i < workers; i++ {
		running.Add(1)
		go func() {
			defer running.Done()
			for range jobs {
				if err := get(&client, url); err != nil {
					failures <- err
				}
			}
		}()
	}
	for i := 0; i < requests; i++ {
		jobs <- i
	}
	close(jobs)
	running.Wait()
	close(failures)
	fmt.Printf("%d of %d requests failed\n", len(failures), requests)
	if len(failures) == 0 {
		return
	}
	shown := 0
	for err := range failures {
		if shown++; shown <= 5 {
			fmt.Println(err)
		}
	}
	os.Exit(1)
}

// get requests the page, and checks that it is complete.
func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if int64(len(body)) != response.ContentLength {
		return fmt.Errorf("%d bytes instead of %d", len(body), response.ContentLength)
	}
	return nil
}
