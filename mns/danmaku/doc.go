// Package danmaku is the worker of the chat pipeline: it takes the lines that
// viewers sent to a queue, drops those with listed words and those of users who
// send too many, merges equal ones, asks the operator's own check if there is
// one, publishes what is left to a topic, and deletes.
//
// A line is deleted after what became of it is certain, so a crash loses none.
// Each publication carries the ids of the lines that it makes good for, and the
// server refuses one of which a line was published before: so what a crash has
// left in the queue is not shown again. Any number of workers may serve one
// queue; rates and merging are each worker's own.
//
// Goroutines belong to Run: the receivers, one loop that decides, and those that
// publish.
package danmaku
