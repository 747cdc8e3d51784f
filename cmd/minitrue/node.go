package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/cmd/internal/simulate"
	"github.com/minitrue/minitrue/shard/replicate"
)

const (
	drain  = 30 * time.Second       // how long requests that are under way may take to end
	linger = 250 * time.Millisecond // how long a node that ends goes on reading requests that others have sent before they knew
)

// run runs a node until ctx ends, and then closes it so that a restart finds everything.
func run(ctx context.Context, f *flags, log *slog.Logger) error {
	started := time.Now()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	l, err := net.Listen("tcp", f.httpAddr())
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w; choose another with --port or --listen", err)
	}
	h := newHTTP(l, f, log, reg)
	served := make(chan error, 1)
	go func() { served <- h.serve() }()

	s, err := openStore(f, log, reg)
	if err != nil {
		return errors.Join(err, h.close(served))
	}
	nodes, err := newMembership(f, s, log, reg)
	if err != nil {
		return errors.Join(err, h.close(served), s.Close())
	}
	others, err := newReplicator(f, nodes.writer, log, reg)
	if err != nil {
		return errors.Join(err, h.close(served), nodes.close(), s.Close())
	}
	g := wire(f, s, nodes, others, log, reg, started)
	ground, settle := startGround(ctx, s, nodes, others)
	nodes.await(ctx, ground.Done())
	if ground.Err() == nil && ctx.Err() == nil {
		h.ready(g)
		log.Info("ready", "http", f.httpAddr(), "data", f.DataDir, "duration", time.Since(started))
		err = g.runDoors(ctx, ground, f, log, served)
	}
	log.Info("draining")
	err = errors.Join(err, h.close(served))
	g.drain()
	err = errors.Join(err, settle())
	if g.api != nil {
		err = errors.Join(err, g.api.Close())
	}
	err = errors.Join(err, others.Close(), nodes.close(), s.Close())
	log.Info("closed", "err", err)
	return err
}

// startGround runs the store, this node's part in its cluster, and what it sends to others. The context ends when one of them does; settle ends both and says how.
func startGround(of context.Context, s *store.Store, nodes *membership, others *replicate.Replicator) (ctx context.Context, settle func() error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(of))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return nodes.run(ctx) })
	g.Go(func() error { return others.Run(ctx) })
	return ctx, func() error {
		stop()
		return g.Wait()
	}
}

// drain waits for what is still being sent to other nodes, when nothing is written any more.
func (g *graph) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	g.tap.Drain(ctx)
	g.nodes.writer.Close(ctx)
}

var errGround = errors.New("the node cannot go on")

// runDoors runs everything that lets samples in, until ctx ends or something fails, the ground below among that.
func (g *graph) runDoors(ctx, ground context.Context, f *flags, log *slog.Logger, served chan error) error {
	doors, ctx := errgroup.WithContext(ctx)
	doors.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-ground.Done():
			return errGround
		}
	})
	doors.Go(func() error { return g.tap.Run(ctx) })
	doors.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			served <- nil // for close
			return err
		}
	})
	if g.client != nil {
		doors.Go(func() error { return g.client.Run(ctx) })
	}
	if g.broker != nil {
		doors.Go(func() error {
			if err := g.broker.Run(ctx); err != nil {
				return fmt.Errorf("%w (the address is that of --mqtt-listen)", err)
			}
			return nil
		})
	}
	if f.Demo {
		doors.Go(func() error { return g.demo(ctx, f, log) })
	}
	return doors.Wait()
}

// demo runs simulated sensors, and says what to try.
func (g *graph) demo(ctx context.Context, f *flags, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.broker.Ready():
	}
	addr := g.broker.Addr().String()
	sim, err := simulate.New(simulate.Options{Broker: "tcp://" + addr, Topic: f.config.MQTT.Prefix, Logger: log, QoS: 1})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	banner(os.Stdout, f.httpAddr(), addr, f.DataDir)
	if err := sim.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

func banner(w io.Writer, httpAddr, mqttAddr, data string) {
	host, port, _ := net.SplitHostPort(mqttAddr)
	fmt.Fprintf(w, `
MiniTrue is running:
  HTTP     http://%[1]s   PromQL, remote_write, remote_read, POST /query
  MQTT     tcp://%[2]s    3 simulated devices publish temperature, humidity and pressure each second
  data     %[3]s

Try:
  curl -s http://%[1]s/query -d '{"device_id":"device-1","metric_name":"temperature","operation":"avg","start_time":0,"end_time":0}'
  curl -sg 'http://%[1]s/api/v1/query?query=avg_over_time(temperature[1m])'
  mosquitto_pub -h %[4]s -p %[5]s -q 1 -t iot/sensors/temperature -m '{"device_id":"mine","metric_name":"temperature","value":21.5}'

`, httpAddr, mqttAddr, data, host, port)
}

// frontDoor is the HTTP server: it answers operators at once, and everybody else
// when the node is ready.
type frontDoor struct {
	l        net.Listener
	server   *http.Server
	config   string
	log      *slog.Logger
	linger   time.Duration
	patience time.Duration // for a body, see patient
	ending   atomic.Bool
	now      *http.ServeMux                // what is there before the node is ready
	all      atomic.Pointer[http.ServeMux] // what is there once it is
}

func newHTTP(l net.Listener, f *flags, log *slog.Logger, reg *prometheus.Registry) *frontDoor {
	h := &frontDoor{l: l, config: f.WebConfig, log: log, linger: linger, patience: bodyPatience, now: http.NewServeMux()}
	operators(h.now, reg, func() bool { return h.all.Load() != nil && !h.ending.Load() })
	h.now.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { notReady(w) })
	h.server = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return h
}

func (h *frontDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.ending.Load() {
		w.Header().Set("Connection", "close") // the next request goes elsewhere
	}
	patient(w, r, h.patience)
	if _, pattern := h.now.Handler(r); pattern == "/" {
		if all := h.all.Load(); all != nil {
			all.ServeHTTP(w, r)
			return
		}
	}
	h.now.ServeHTTP(w, r)
}

// ready opens the door to everybody.
func (h *frontDoor) ready(g *graph) {
	g.mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "MiniTrue: a time-series store for sensors.\n\nPOST /query, /api/v1/query, /api/v1/write, /api/v1/read, /ws, /metrics\n")
	})
	h.all.Store(g.mux)
}

func (h *frontDoor) serve() error {
	h.server.ReadTimeout = h.patience // see patient
	none := false
	addrs := []string{h.l.Addr().String()}
	err := web.Serve(h.l, h.server, &web.FlagConfig{WebListenAddresses: &addrs, WebSystemdSocket: &none, WebConfigFile: &h.config}, h.log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// close takes no new requests, and waits for those under way. Some of these have arrived and are not read yet: where a connection was idle,
// Shutdown would close it upon them.
func (h *frontDoor) close(served chan error) error {
	if h.ending.Store(true); h.all.Load() != nil {
		time.Sleep(h.linger)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	err := h.server.Shutdown(ctx)
	return errors.Join(err, <-served)
}
