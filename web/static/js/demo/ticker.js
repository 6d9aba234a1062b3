// A clock that goes on in a hidden tab, where a page's own timers are slowed to
// one a minute: its clients would lose their heartbeats. Runs as a worker.

setInterval(() => postMessage("tick"), 1000);
