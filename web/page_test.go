package web

import (
	"fmt"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// TestPages plays with both pages in a real browser, against a node that does
// as it is told. All share one browser, each has its own tab and node.
func TestPages(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	t.Run("group", func(t *testing.T) { // ends before the browser does
		for name, test := range map[string]func(*testing.T, *browser){
			"modules":   testModules,
			"dashboard": testDashboard,
			"events":    testEvents,
			"lookups":   testLookups,
			"troubles":  testTroubles,
			"key":       testKey,
			"demo":      testDemo,
			"real sids": testRealSids,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, b)
			})
		}
	})
}

// testModules tries the parts that show nothing.
func testModules(t *testing.T, b *browser) {
	tab := b.open(t, newOperator(t).address+"/static/favicon.svg")
	for _, tt := range []struct{ module, expression, want string }{
		{"demo/sign.js", `await m.hmac({action: "ping", online_token: "7f0123456789abcdef0123456789abcdef", sid: "42stest", timestamp: 1517644790}, "k")`, "fda31b3b724985de25c15345756945e900957cf97f117d056e5189f0025b094f"},
		{"demo/sign.js", `m.canonical({sid: "42stest", action: "ping", note: "房间/a", sign: "x", in: {z: 1, a: 2}})`, `{"action":"ping","in":{"z":1,"a":2},"note":"房间\/a","sid":"42stest"}`},
		{"metrics.js", `m.total(m.parse('# HELP a b\na{r="x\\"y",s="1"} 3\na{r="z"} 4.5e0 17\nb 9', 0), "a")`, "7.5"},
		{"metrics.js", `m.total(m.parse('a{r="x\\"y"} 3\na{r="z"} 4', 0), "a", {r: 'x"y'})`, "3"},
		{"metrics.js", `String(m.total(m.parse("a 1", 0), "b"))`, "undefined"},
		{"metrics.js", `m.gain(m.parse("a 10", 0), m.parse("a 12", 1000), "a")`, "2"},
		{"metrics.js", `m.gain(m.parse("a 10", 0), m.parse("a 4", 1000), "a")`, "4"}, // it began anew
		{"metrics.js", `m.perSecond(m.parse("a 10", 0), m.parse("a 40", 2000), "a")`, "15"},
		{"metrics.js", `m.quantile(m.parse("", 0), m.parse('h_bucket{le="1"} 0\nh_bucket{le="2"} 10\nh_bucket{le="+Inf"} 10', 1), "h", 0.5)`, "1.5"},
		{"metrics.js", `m.quantile(m.parse("", 0), m.parse('h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 10', 1), "h", 0.99)`, "1"},
		{"metrics.js", `String(m.quantile(m.parse('h_bucket{le="+Inf"} 5', 0), m.parse('h_bucket{le="+Inf"} 5', 1), "h", 0.5))`, "undefined"},
		{"format.js", `[m.count(99999), m.count(123456), m.span(0.00042), m.span(0.0042), m.age(0, 3700000), m.words("without_redis"), m.plural(1, "node")].join("|")`, "99,999|123.5K|420 µs|4.2 ms|1 h 1 min|without Redis|1 node"},
	} {
		got, err := tab.eval(fmt.Sprintf(`(async () => { const m = await import("/static/js/%s"); return String(%s); })()`, tt.module, tt.expression))
		if err != nil || got != tt.want {
			t.Errorf("%s: %s = %v (%v), want %s", tt.module, tt.expression, got, err, tt.want)
		}
	}
}

// testDashboard is the page while all is well.
func testDashboard(t *testing.T, b *browser) {
	tab := b.open(t, newOperator(t).address+"/")
	tab.shows("#verdict[data-level=good]", "3 nodes serve, and all agree")
	tab.until(`document.querySelectorAll("#members tbody tr").length === 3`)
	tab.shows("#members tr", "this node")
	tab.shows("#members", "1,366")
	tab.shows("#members", "agrees")
	tab.shows("#here", "n1")
	tab.shows(".tile", "812")
	tab.until(`Number(/Deliveries\s+([\d.]+)/.exec(document.querySelector("#tiles").innerText)[1]) > 0`)
	tab.until(`document.querySelector("#tiles .spark .line").getAttribute("d")`)
	tab.shows("#drops", "full requests and connections not let in")
	tab.shows("#check", "None is broken")
	tab.shows("#rooms", "r12")
	tab.click("#rooms button", "More")
	tab.shows("#rooms", "r13")
	tab.click("#rooms button", "Back")
	tab.shows("#rooms", "r12")
	fits(tab)
	light := tab.ground("light")
	if dark := tab.ground("dark"); dark == light {
		t.Errorf("the page is %s in the dark too", dark)
	}
}

// fits looks at a page on a small phone: nothing may stick out.
func fits(tab *tab) {
	tab.t.Helper()
	tab.must("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true}, nil)
	tab.until(`innerWidth === 360 && document.documentElement.scrollWidth <= 360`)
	tab.must("Emulation.clearDeviceMetricsOverride", map[string]any{}, nil)
}

func testEvents(t *testing.T, b *browser) {
	o := newOperator(t)
	tab := b.open(t, o.address+"/")
	tab.shows("#events-note", "live")
	o.happen(protocol.Event{Event: "entered", UserID: 1017, RoomID: "r1", Node: "n2"})
	o.happen(protocol.Event{Event: "lost", UserID: 1018, RoomID: "<b>r2</b>", Seat: 2, Reason: "timeout", Node: "n1"})
	tab.until(`document.querySelectorAll("#events li").length === 2`)
	tab.shows("#events li:first-child", "lost")
	tab.shows("#events li:first-child", "user 1018 in <b>r2</b> seat 2 timeout") // as text, never as markup

	tab.click("#events-kinds label", "entered")
	tab.until(`document.querySelectorAll("#events li").length === 1`)
	tab.click("#events-kinds label", "entered")
	tab.do(`const i = document.querySelector("#events-text"); i.value = "1017"; i.dispatchEvent(new Event("input"));`)
	tab.until(`document.querySelectorAll("#events li").length === 1 && document.querySelector("#events li").innerText.includes("entered")`)
	tab.do(`const i = document.querySelector("#events-text"); i.value = ""; i.dispatchEvent(new Event("input"));`)

	tab.click("#events-pause", "Pause")
	o.happen(protocol.Event{Event: "exited", UserID: 1019, RoomID: "r1", Node: "n2"})
	tab.shows("#events-note", "1 event waiting")
	tab.until(`document.querySelectorAll("#events li").length === 2`)
	tab.click("#events-pause", "Go on")
	tab.shows("#events li:first-child", "exited")

	o.cut()
	tab.shows("#events li:first-child", "events before this line may be missing")
	tab.shows("#events-note", "live")
	tab.click("#events-clear", "Clear")
	tab.until(`document.querySelectorAll("#events li").length === 0`)
}

func testLookups(t *testing.T, b *browser) {
	o := newOperator(t)
	o.room.mu.Lock()
	o.room.occupants = append(o.room.occupants, protocol.OccupantView{UserID: 7, Profile: protocol.Profile{Nickname: "小明", Role: "host"}, Seat: 2})
	o.room.seats[1].UserID = 7
	o.room.mu.Unlock()
	tab := b.open(t, o.address+"/#room=demo")
	tab.shows("#found", "小明")
	tab.shows("#found .taken", "7")
	tab.shows("#found .roster", "no connection")
	tab.until(`document.querySelector("#room-id").value === "demo"`)

	tab.do(`document.querySelector("#user-id").value = "1017"; document.querySelector("#find-user").requestSubmit();`)
	tab.shows("#found", "Last removal: timeout from r1")
	tab.shows("#found .timeline", "connected")
	tab.until(`location.hash === "#user=1017"`)
	tab.do(`document.querySelector("#user-id").value = "99"; document.querySelector("#find-user").requestSubmit();`)
	tab.shows("#found", "nothing is known of user 99")
	tab.do(`document.querySelector("#room-id").value = "empty"; document.querySelector("#find-room").requestSubmit();`)
	tab.shows("#found", `nobody is in room "empty"`)
}

// testTroubles breaks one thing after another.
func testTroubles(t *testing.T, b *browser) {
	o := newOperator(t)
	tab := b.open(t, o.address+"/")
	tab.shows("#verdict", "all agree")

	o.setState("n2", "failed")
	tab.shows("#verdict[data-level=bad]", "n2 is gone")
	tab.shows("#members .gone", "failed")
	o.setState("n2", "draining")
	tab.shows("#verdict[data-level=warn]", "n2 is draining")
	o.setState("n2", "serving")

	o.set(func() { o.agreed = false })
	tab.shows("#verdict[data-level=warn]", "Rings differ")
	o.set(func() { o.agreed = true })

	o.set(func() { o.away = true })
	o.setState("n1", "without_redis")
	tab.shows("#verdict[data-level=warn]", "Redis is away")
	tab.shows(".tile", "away")
	tab.shows("#rooms", "It can't be known right now")
	o.set(func() { o.away = false })
	o.setState("n1", "serving")

	o.set(func() { o.broken = []string{"partition 7: two owners"} })
	tab.click("#check-now", "Check now")
	tab.shows("#check", "partition 7: two owners")
	tab.shows("#verdict[data-level=bad]", "1 invariant is broken")
	o.set(func() { o.broken = nil })
	tab.click("#check-now", "Check now")
	tab.shows("#verdict[data-level=good]", "all agree")

	o.set(func() { o.silent = true })
	tab.shows("#verdict[data-level=bad]", "This node does not answer")
	tab.until(`document.body.classList.contains("stale")`)
	o.set(func() { o.silent = false })
	tab.shows("#verdict[data-level=good]", "all agree")
	tab.until(`!document.body.classList.contains("stale")`)
}

// testKey is a door that wants a key.
func testKey(t *testing.T, b *browser) {
	o := newOperator(t)
	o.key = "secret"
	tab := b.open(t, o.address+"/")
	tab.shows("dialog", "wants a key")
	tab.until(`document.querySelectorAll("dialog").length === 1`)
	give := func(key string) {
		tab.do(`document.querySelector("#admin-key").value = ` + quote(key) + `; document.querySelector("dialog button").click();`)
	}
	give("wrong")
	tab.until(`document.querySelector("#admin-key").value === ""`) // it asks again
	give("secret")
	tab.shows("#verdict", "all agree")
	tab.shows("#events-note", "live")
	tab.until(`!document.querySelector("dialog")`)
}

// testDemo plays the story that the demo is there for.
func testDemo(t *testing.T, b *browser) {
	o := newOperator(t)
	tab := b.open(t, o.address+"/demo")
	client := func(i int) string { return fmt.Sprintf(".client:nth-of-type(%d) ", i) }
	say := func(i int, text string) {
		tab.do(fmt.Sprintf(`const f = document.querySelector(%s); f.querySelector("input").value = %s; f.requestSubmit();`, quote(client(i)+"form"), quote(text)))
	}
	tab.until(`document.querySelectorAll("#through option").length === 4`)
	tab.click("#three", "Add three")
	tab.until(`document.querySelectorAll(".client").length === 3`)
	for i := 1; i <= 3; i++ {
		tab.shows(client(i), "connected")
		tab.shows(client(i), "in demo")
	}
	tab.shows("#facts", "3 in the room")
	tab.shows("#facts .node", "n2")
	tab.shows("#audience", "Ann")

	tab.click(client(2)+"button", "Take a seat")
	tab.shows(client(2), "seat 1")
	tab.shows("#seats .taken", "Bo")
	tab.click("#seats button", "3") // whoever stands takes it
	tab.shows("#seats .taken", "Ann")

	say(1, "你好 <i>/")
	tab.shows(client(3)+".frames", "Ann: 你好 <i>/")
	tab.shows("#talk", "你好 <i>/")
	tab.click(client(3)+"button", "Gift")
	tab.shows(client(2)+".frames", "Cleo → Ann: rose")
	tab.until(`[...document.querySelectorAll("#talk li")].filter((l) => l.innerText.includes("a rose")).length === 1`) // however many heard it
	waitFor(t, "heartbeats of all", func() bool { return o.room.said(protocol.ActionPing) >= 3 })

	tab.click(client(2)+"button", "Kill connection")
	tab.shows(client(2), "killed here")
	tab.shows(client(1)+".owed", "Bo was lost, from seat 1")
	tab.until(`document.querySelectorAll(".owed").length === 1`)
	tab.until(`document.querySelectorAll("#seats .taken").length === 1`)
	tab.shows("#talk", "was lost: closed")
	tab.click(client(1)+".owed button", "Report")
	tab.shows(client(1)+".owed button", "reported")
	waitFor(t, "the report", func() bool { return o.room.said(protocol.ActionExitRoomReport) == 1 })

	tab.click(client(2)+"button", "Connect")
	tab.shows(client(2), "connected")
	tab.shows(client(2), "in no room") // it was expelled, and is told
	tab.click(client(2)+"button", "Enter demo")
	tab.shows(client(2), "in demo")

	o.room.lose(true)
	say(1, "you will miss this")
	waitFor(t, "what is missed", func() bool { return o.room.said(protocol.ActionSendTopicMsg) == 2 })
	o.room.lose(false)
	say(1, "until you see this")
	tab.shows(client(3)+".frames", "you will miss this")
	waitFor(t, "everybody's sync", func() bool { return o.room.said(protocol.ActionSync) == 3 })

	tab.click("label", "report departures by themselves")
	tab.click(client(2)+"button", "Kill connection")
	waitFor(t, "a report by itself", func() bool { return o.room.said(protocol.ActionExitRoomReport) == 2 })
	tab.click(client(2)+"button", "Connect")
	tab.click(client(2)+"button", "Enter demo")
	tab.shows(client(2), "in demo")

	o.set(func() { o.silent = true }) // the page's node is gone, and its clients find others
	tab.shows("#notice[data-level=bad]", "does not answer")
	o.room.closeAll(uint16(protocol.CloseDrain), "drain")
	tab.shows(client(1)+".frames", "1012 drain")
	for i := 1; i <= 3; i++ {
		tab.shows(client(i), "connected") // they come back by themselves, to where they were
		tab.shows(client(i), "in demo")
	}
	o.set(func() { o.silent = false })
	tab.until(`document.querySelector("#notice").hidden`)
	o.setState("n2", "without_redis")
	tab.shows("#notice[data-level=warn]", "Redis is away")
	fits(tab)

	tab.click(client(3)+"button", "Go silent")
	tab.shows(client(3), "silent")
	o.room.closeAll(uint16(protocol.CloseKicked), "kicked")
	tab.shows(client(1), "kicked")
	tab.shows(client(1)+"button", "Connect") // and stay away
	tab.do(fmt.Sprintf(`document.querySelector(%s).click();`, quote(client(3)+".close")))
	tab.until(`document.querySelectorAll(".client").length === 2`)
}

// testRealSids is a cluster whose users can't be made up.
func testRealSids(t *testing.T, b *browser) {
	o := newOperator(t)
	o.sidAuth = "jwt"
	tab := b.open(t, o.address+"/demo")
	tab.shows("#notice[data-level=warn]", "takes real sids only")
	tab.until(`document.querySelector("#three").disabled`)
}
