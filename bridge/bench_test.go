package bridge

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// The benchmarks run against a redis-server on this machine, so that client and
// server share its processors. One operation is one commit, call or message.
// Where others use the machine too, the processor times still tell what an
// operation costs.

// measure reports operations per second, and what the server and this process
// spent on one. It is called when the clock is reset, and what it returns at
// the end.
func measure(b *testing.B, r *Redis, what string) func() {
	server, client := serverTime(b, r), clientTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	return func() {
		b.StopTimer()
		n := float64(b.N)
		b.ReportMetric(n/b.Elapsed().Seconds(), what+"/s")
		b.ReportMetric(float64((serverTime(b, r)-server).Nanoseconds())/1000/n, "server-µs/op")
		b.ReportMetric(float64((clientTime(b)-client).Nanoseconds())/1000/n, "client-µs/op")
	}
}

func serverTime(b *testing.B, r *Redis) time.Duration {
	info := must(r.client.Info(b.Context(), "cpu").Result())(b)
	var total float64
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		total += must(strconv.ParseFloat(infoField(info, name), 64))(b)
	}
	return time.Duration(total * float64(time.Second))
}

func clientTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCommit has four owner loops commit batches of many partitions, one
// batch a loop under way at a time, one small entry a commit.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			r := openRedis(b, Config{URL: testServers.single(b), Prefix: newPrefix(), Timeout: 10 * time.Second})
			const loops = 4
			batches := make([][]protocol.Commit, loops)
			for i := range batches {
				var takes []protocol.Take
				for n := range size {
					takes = append(takes, protocol.Take{Partition: protocol.PartitionID(i*size + n), Owner: n1})
				}
				for n, taken := range must(r.Take(b.Context(), takes))(b) {
					batches[i] = append(batches[i], protocol.Commit{
						Partition: takes[n].Partition, Owner: n1, Epoch: taken.Epoch,
						Changes: []protocol.Change{{Key: "room/12345/occupant/67890", Value: make([]byte, 120)}},
					})
				}
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			done := measure(b, r, "commits")
			var wg sync.WaitGroup
			for _, batch := range batches {
				wg.Go(func() {
					for left.Add(-int64(size)) > -int64(size) {
						for n := range batch {
							batch[n].Before, batch[n].After = batch[n].After, batch[n].After+1
						}
						statuses, err := r.Commit(b.Context(), batch)
						if err != nil || statuses[0] != protocol.Committed {
							b.Error(statuses, err)
							return
						}
					}
				})
			}
			wg.Wait()
			done()
		})
	}
}

// benchmarkCalls has many callers make calls that share pipelines.
func benchmarkCalls(b *testing.B, call func(r *Redis, n int64) error) {
	r := openRedis(b, Config{URL: testServers.single(b), Prefix: newPrefix(), Timeout: 10 * time.Second})
	var n atomic.Int64
	b.SetParallelism(128)
	done := measure(b, r, "calls")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(r, n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	done()
}

func BenchmarkConnect(b *testing.B) {
	benchmarkCalls(b, func(r *Redis, n int64) error {
		_, err := r.Connect(b.Context(), protocol.Connect{
			Partition: protocol.PartitionID(n % 4093), User: protocol.UserID(n%50_000 + 1), Edge: n1, Token: fmt.Sprint(n),
		})
		return err
	})
}

func BenchmarkMove(b *testing.B) {
	rooms := []protocol.RoomID{"r1", "r2"}
	benchmarkCalls(b, func(r *Redis, n int64) error {
		op := protocol.Move{
			Partition: protocol.PartitionID(n % 4093), User: protocol.UserID(n%50_000 + 1), To: rooms[n/50_000%2], By: n1,
		}
		moved, err := r.Move(b.Context(), op)
		if err != nil {
			return err
		}
		return r.Settle(b.Context(), protocol.Settle{Partition: op.Partition, By: n1, User: op.User, Version: moved.Intent.Version})
	})
}

func BenchmarkUsers(b *testing.B) {
	benchmarkCalls(b, func(r *Redis, n int64) error {
		_, err := r.Users(b.Context(), []protocol.UserAt{{Partition: protocol.PartitionID(n % 4093), User: protocol.UserID(n%50_000 + 1)}})
		return err
	})
}

func BenchmarkPublish(b *testing.B) {
	payload := make([]byte, 200)
	benchmarkCalls(b, func(r *Redis, _ int64) error {
		_, err := r.Publish(b.Context(), n1, payload)
		return err
	})
}
