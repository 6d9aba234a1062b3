package wire

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/mns/chat"
)

func TestParse(t *testing.T) {
	t.Parallel()
	doc := "\ufeff<?xml version='1.0' encoding='utf-8'?>\n<!-- c -->\n<m:A x=\"1\" y='>'>\n <B>t&lt;&#65;&#x4e2d;</B><C><![CDATA[<&]]> x</C>\n <D/>\n</m:A>\n<?pi?>"
	n, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if n.Name != "A" || len(n.Children) != 3 || n.Children[0].Text != "t<A中" || n.Children[1].Text != "<& x" || n.Child("D").Text != "" {
		t.Errorf("%+v", n)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"nothing": "", "text": "x", "unclosed": "<A>", "crossed": "<A><B></A></B>", "attribute": "<A x=1/>", "attribute value": `<A x="<"/>`,
		"doctype": "<!DOCTYPE A><A/>", "entity": "<A>&b;</A>", "bare ampersand": "<A>a & b</A>", "reference to nothing": "<A>&#0;</A>",
		"reference to a surrogate": "<A>&#xD800;</A>", "huge reference": "<A>&#99999999999;</A>", "long reference": "<A>&" + strings.Repeat("a", 99) + ";</A>",
		"control": "<A>\x02</A>", "not a character": "<A>\ufffe</A>", "utf-8": "<A>\xc3</A>", "]]>": "<A>]]></A>", "text beside elements": "<A>x<B/></A>",
		"second root": "<A/><B/>", "space in a tag": "< A/>", "comment": "<A><!-- a -- b --></A>", "attributes run together": `<A x="1"y="2"/>`,
		"depth": strings.Repeat("<A>", 17) + strings.Repeat("</A>", 17), "number": "<A>" + strings.Repeat("<B/>", 4096) + "</A>",
		"utf-16": "<?xml version='1.0' encoding='utf-16'?><A/>", "digit first": "<1A/>",
	} {
		if n, err := Parse([]byte(doc)); !errors.Is(err, chat.ErrMalformedXML) {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

// TestBombs bounds what small bodies may cost.
func TestBombs(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"nested":     strings.Repeat("<a>", 1<<18),
		"wide":       "<a>" + strings.Repeat("<b/>", 1<<17) + "</a>",
		"attributes": "<a" + strings.Repeat(" x='&lt;'", 1<<16) + "/>",
		"comments":   strings.Repeat("<!---->", 1<<17) + "<a/>",
		"references": "<a>" + strings.Repeat("&#x41;", 1<<17) + "</a>",
		"sections":   "<a>" + strings.Repeat("<![CDATA[]]>", 1<<16) + "</a>",
	} {
		start := time.Now()
		_, _ = Parse([]byte(doc))
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

// TestText: whatever is legal comes back as it was, through this reader and
// through Go's own.
func TestText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.OneOf(rapid.RuneFrom([]rune("<>&\"'\r\n\t ]中😀a")), rapid.Rune().Filter(legalRune)), 1, 40, -1).Draw(t, "text")
		doc := append(AppendText([]byte("<A>"), text), "</A>"...)
		n, err := Parse(doc)
		if err != nil || n.Text != text {
			t.Fatalf("%q became %q, %v", text, n, err)
		}
		var other struct {
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal(doc, &other); err != nil || other.Text != text {
			t.Fatalf("%q became %q for another reader, %v", text, other.Text, err)
		}
	})
}

// FuzzParse: what is read can be written and read again, and is legal for
// another reader too.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><Message xmlns="http://mns.aliyuncs.com/doc/v1/"><MessageBody>a&amp;b</MessageBody><Priority>8</Priority></Message>`))
	f.Add([]byte(`<Queue><DlqPolicy><Enabled>true</Enabled></DlqPolicy></Queue>`))
	f.Add([]byte("<a><![CDATA[]]><!-- --><?x?></a>"))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		n, err := Parse(doc)
		if err != nil {
			return
		}
		text := AppendNode(nil, n)
		again, err := Parse(text)
		if err != nil || fmt.Sprint(*again) != fmt.Sprint(*n) {
			t.Fatalf("%q is %+v, written %q it is %+v, %v", doc, n, text, again, err)
		}
	})
}

// FuzzDecode: no body makes a reader of requests panic, and what it lets through
// is within its bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`<Queue><DelaySeconds>-1</DelaySeconds><DlqPolicy/></Queue>`))
	f.Add([]byte(`<Messages><Message><MessageBody>a</MessageBody></Message></Messages>`))
	f.Add([]byte(`<Message><MessageBody>a</MessageBody><MessageAttributes><WebSocket>{"ImportanceLevel":12}</WebSocket></MessageAttributes><Once>a,b</Once></Message>`))
	f.Add([]byte(`<Subscription><Endpoint>websocket</Endpoint></Subscription>`))
	f.Add([]byte(`<ReceiptHandles><ReceiptHandle>1</ReceiptHandle></ReceiptHandles>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if drafts, _, err := DecodeSend(body); err == nil {
			for _, d := range drafts {
				if d.Body == "" || d.Priority < 1 || d.Priority > 16 || d.Delay != nil && (*d.Delay < 0 || *d.Delay > chat.MaxDelay) {
					t.Errorf("%q was read as %+v", body, d)
				}
			}
		}
		if p, _, err := DecodePublish(body); err == nil && (p.Body == "" || p.Importance < 1 || p.Importance > 16) {
			t.Errorf("%q was read as %+v", body, p)
		}
		if h, err := DecodeHandles(body); err == nil && (len(h) < 1 || len(h) > chat.MaxBatch) {
			t.Errorf("%q was read as %d handles", body, len(h))
		}
		_, _ = DecodeQueue(body)
		_, _ = DecodeTopic(body)
		_, _ = DecodeSubscribe(body)
		_, _ = DecodeSubscription(body)
		_, _ = DecodeAccount(body)
	})
}

func TestImportanceForms(t *testing.T) {
	t.Parallel()
	for inner, want := range map[string]chat.Importance{
		"<ImportanceLevel>3</ImportanceLevel>": 3, " {\"ImportanceLevel\": 3} ": 3, "{&quot;ImportanceLevel&quot;:3}": 3, "": 8, "{}": 8,
		`{"ImportanceLevel":3.5}`: 0, `{"ImportanceLevel":17}`: 0, "3": 0, "[]": 0,
	} {
		p, _, err := DecodePublish([]byte("<Message><MessageBody>m</MessageBody><MessageAttributes><WebSocket>" + inner + "</WebSocket></MessageAttributes></Message>"))
		if (err == nil) != (want != 0) || err == nil && p.Importance != want {
			t.Errorf("%s: %d, %v, want %d", inner, p.Importance, err, want)
		}
	}
}

func BenchmarkDecodeSend(b *testing.B) {
	body := []byte(`<?xml version="1.0" encoding="UTF-8"?><Message xmlns="http://mns.aliyuncs.com/doc/v1/"><MessageBody>` +
		strings.Repeat("弹幕 ", 28) + `</MessageBody><DelaySeconds>0</DelaySeconds><Priority>8</Priority></Message>`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeSend(body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLegal compares the fast look at characters with the table of them.
func TestLegal(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		if got := legal("a" + string(r) + "b"); got != legalRune(r) {
			t.Errorf("%U is legal: %v", r, got)
		}
	}
}
