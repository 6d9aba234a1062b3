package bridge

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// script is one unit of work that the server runs as a whole.
type script struct {
	source string
	sha    string
}

// loadScript joins a script and the libraries that it uses.
func loadScript(name string, libraries ...string) *script {
	var b strings.Builder
	for _, file := range append(libraries, name) {
		text, err := scriptFiles.ReadFile("scripts/" + file + ".lua")
		if err != nil {
			panic(fmt.Sprintf("bridge: script %s is not embedded: %v", file, err))
		}
		b.Write(text)
	}
	source := b.String()
	sum := sha1.Sum([]byte(source))
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

// scripts are all the scripts of this package.
type scripts struct {
	register, renew, bury, clock                  *script
	take, commit, restore, release                *script
	outbox, posted                                *script
	connect, close, move                          *script
	left, remains, restoreUsers, prune, negotiate *script
}

func loadScripts() scripts {
	const clock, header, outbox, user = "lib_clock", "lib_header", "lib_outbox", "lib_user"
	return scripts{
		register:     loadScript("register"),
		renew:        loadScript("renew", clock),
		bury:         loadScript("bury", clock),
		clock:        loadScript("clock", clock),
		take:         loadScript("take", clock, header),
		commit:       loadScript("commit", outbox, header),
		restore:      loadScript("restore", header),
		release:      loadScript("release", header),
		outbox:       loadScript("outbox"),
		posted:       loadScript("posted"),
		connect:      loadScript("connect", clock, user, outbox),
		close:        loadScript("close", clock, user, outbox),
		move:         loadScript("move", clock, user),
		left:         loadScript("left"),
		remains:      loadScript("remains"),
		restoreUsers: loadScript("restore_users", clock, user),
		prune:        loadScript("prune", clock),
		negotiate:    loadScript("negotiate"),
	}
}
