package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// fleet is all workers: one within this process, or several in their own.
type fleet struct {
	share Share // Index aside
	calls []func(method string, args, reply any) error
	procs []*exec.Cmd
	pipes []io.Closer
}

// newFleet starts the workers.
func newFleet(set settings) (*fleet, error) {
	f := &fleet{share: Share{Settings: set, Of: set.Processes}}
	if set.Processes == 1 {
		f.calls = append(f.calls, local(&Worker{}))
		return f, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	for range set.Processes {
		if err := f.spawn(self); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

// local calls a worker within this process.
func local(w *Worker) func(string, any, any) error {
	return func(method string, args, reply any) error {
		switch method {
		case "Up":
			return w.Up(args.(Share), nil)
		case "Drive":
			return w.Drive(args.(Span), reply.(*CPU))
		case "Progress":
			return w.Progress(struct{}{}, reply.(*Progress))
		case "Killed":
			return w.Killed(args.(Kill), reply.(*int))
		case "Report":
			return w.Report(struct{}{}, reply.(*Outcome))
		default:
			return w.Down(struct{}{}, nil)
		}
	}
}

// spawn starts one worker process, which is called over its standard input and
// output, and ends with them.
func (f *fleet) spawn(self string) error {
	cmd := exec.Command(self, "--worker")
	cmd.Stderr = os.Stderr
	// An interrupt is for the first process, which ends the others.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	client := jsonrpc.NewClient(duplex{out, in})
	f.procs = append(f.procs, cmd)
	f.pipes = append(f.pipes, client)
	f.calls = append(f.calls, func(method string, args, reply any) error {
		if args == nil {
			args = struct{}{}
		}
		if reply == nil {
			reply = &struct{}{}
		}
		return client.Call("Worker."+method, args, reply)
	})
	return nil
}

// duplex is a worker's standard input and output in one.
type duplex struct {
	io.ReadCloser
	in io.WriteCloser
}

func (d duplex) Write(b []byte) (int, error) { return d.in.Write(b) }
func (d duplex) Close() error                { return errors.Join(d.in.Close(), d.ReadCloser.Close()) }

// serveWorker is what a worker process does until its input ends.
func serveWorker() error {
	server := rpc.NewServer()
	if err := server.Register(&Worker{}); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	server.ServeCodec(jsonrpc.NewServerCodec(duplex{os.Stdin, os.Stdout}))
	return nil
}

// all calls a method of all workers at once, and takes their answers.
func all[R any](f *fleet, method string, args func(i int) any) ([]R, error) {
	replies, faults := make([]R, len(f.calls)), make([]error, len(f.calls))
	var calls sync.WaitGroup
	for i, call := range f.calls {
		calls.Go(func() {
			var a any
			if args != nil {
				a = args(i)
			}
			faults[i] = call(method, a, &replies[i])
		})
	}
	calls.Wait()
	return replies, errors.Join(faults...)
}

// up connects everybody, and gives up when ctx ends.
func (f *fleet) up(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		_, err := all[struct{}](f, "Up", func(i int) any {
			share := f.share
			share.Index = i
			return share
		})
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends all clients and all workers.
func (f *fleet) close() error {
	_, err := all[struct{}](f, "Down", nil)
	for i, cmd := range f.procs {
		err = errors.Join(err, f.pipes[i].Close())
		if wait := cmd.Wait(); wait != nil {
			err = errors.Join(err, fmt.Errorf("worker: %w", wait))
		}
	}
	return err
}
