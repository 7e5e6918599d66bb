// What NATS' client for Go does with the embedded listener. Says `ok` and the name of each thing that is as it should be.
//
// tests/bus/clients.rs runs it, and starts the server again when it says `restart`.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	events   = "switchback.evt."
	patience = 60 * time.Second
)

type object = map[string]any

var (
	server = os.Getenv("SWITCHBACK_BUS")
	token  = nats.Token(os.Getenv("SWITCHBACK_TOKEN"))
	zones  atomic.Int64
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func done(err error) { must(0, err) }

func assert(holds bool, what ...any) {
	if !holds {
		log.Panic(what...)
	}
}

func until(what string, holds func() bool) {
	for begin := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		assert(time.Since(begin) < patience, "not until now: "+what)
	}
}

// errorsOf collects what a connection complains of.
type errorsOf struct {
	lock sync.Mutex
	said []string
}

func (e *errorsOf) option() nats.Option {
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		e.lock.Lock()
		defer e.lock.Unlock()
		e.said = append(e.said, err.Error())
	})
}

func (e *errorsOf) has(word string) bool {
	e.lock.Lock()
	defer e.lock.Unlock()
	for _, said := range e.said {
		if strings.Contains(strings.ToLower(said), strings.ToLower(word)) {
			return true
		}
	}
	return false
}

func connect(options ...nats.Option) *nats.Conn {
	return must(nats.Connect(server, append([]nats.Option{nats.NoReconnect()}, options...)...))
}

func ask(connection *nats.Conn, subject string, body object, headers ...string) *nats.Msg {
	message := nats.NewMsg(subject)
	if body != nil {
		message.Data = must(json.Marshal(body))
	}
	for at := 0; at < len(headers); at += 2 {
		message.Header.Set(headers[at], headers[at+1])
	}
	return must(connection.RequestMsg(message, patience))
}

func said(message *nats.Msg) object {
	var body object
	done(json.Unmarshal(message.Data, &body))
	return body
}

func makeZone(connection *nats.Conn) string {
	name := fmt.Sprintf("zone-%d", zones.Add(1))
	reply := said(ask(connection, "switchback.cmd.CreateZone", object{"name": name}))
	return reply["inventory"].(object)["uuid"].(string)
}

func status(reply *nats.Msg) string { return reply.Header.Get("Nats-Service-Error-Code") }

func next(subscription *nats.Subscription) *nats.Msg { return must(subscription.NextMsg(patience)) }

func everyWayIn() {
	file := "bus.nk"
	done(os.WriteFile(file, []byte(os.Getenv("SWITCHBACK_NKEY")), 0o600))
	for _, way := range []nats.Option{
		token, nats.UserInfo("admin", os.Getenv("SWITCHBACK_PASSWORD")), must(nats.NkeyOptionFromSeed(file)),
	} {
		connection := connect(way)
		reply := ask(connection, "switchback.query.QueryZone", object{"count": true})
		assert(status(reply) == "", string(reply.Data))
		connection.Close()
	}
}

func wrongCredentials() {
	for _, way := range []nats.Option{nats.Token("wrong"), nats.UserInfo("admin", "wrong")} {
		_, err := nats.Connect(server, way, nats.NoReconnect())
		assert(errors.Is(err, nats.ErrAuthorization), err)
	}
}

func nobodyUntilAHeaderSaysWho() {
	var heard errorsOf
	connection := connect(heard.option())
	defer connection.Close()
	assert(status(ask(connection, "switchback.query.QueryZone", nil)) == "401")
	bearer := "Bearer " + os.Getenv("SWITCHBACK_TOKEN")
	assert(status(ask(connection, "switchback.query.QueryZone", nil, "Authorization", bearer)) == "")
	must(connection.SubscribeSync(events + ">"))
	until("no events for nobody", func() bool { return heard.has("ermissions") })
}

func headersGoBothWays() {
	connection := connect(token)
	defer connection.Close()
	created := must(connection.SubscribeSync(events + "zone.*.Created"))
	headers := []string{"X-Reason", "to see", "Nats-Msg-Id", "one of Go"}
	reply := ask(connection, "switchback.cmd.CreateZone", object{"name": "headed"}, headers...)
	again := ask(connection, "switchback.cmd.CreateZone", object{"name": "headed"}, headers...)
	assert(string(reply.Data) == string(again.Data))
	position := strconv.FormatFloat(said(reply)["position"].(float64), 'f', -1, 64)
	assert(reply.Header.Get("X-Switchback-Position") == position)
	event := next(created)
	assert(event.Header.Get("Nats-Msg-Id") == position && event.Header.Get("ce-id") == position)
	assert(said(event)["reason"] == "to see", string(event.Data))
	refused := ask(connection, "switchback.cmd.CreateZone", object{"name": ""})
	assert(status(refused) == "400" && said(refused)["code"] == "SYS.1007", string(refused.Data))
	dry := said(ask(connection, "switchback.cmd.CreateZone", object{"name": "dry"}, "X-Dry-Run", "true"))
	assert(dry["events"].([]any)[0].(object)["position"] == 0.0, dry)
}

func wildcards() {
	connection := connect(token)
	defer connection.Close()
	var matching, others []*nats.Subscription
	for _, pattern := range []string{">", "zone.>", "zone.*.*", "*.*.Created"} {
		matching = append(matching, must(connection.SubscribeSync(events+pattern)))
	}
	for _, pattern := range []string{"cluster.>", "zone.*.Updated", "*.*.Deleted"} {
		others = append(others, must(connection.SubscribeSync(events+pattern)))
	}
	done(connection.Flush())
	subject := events + "zone." + makeZone(connection) + ".Created"
	for _, subscription := range matching {
		assert(next(subscription).Subject == subject, subscription.Subject)
	}
	done(connection.Flush())
	for _, subscription := range others {
		pending, _, err := subscription.Pending()
		assert(err == nil && pending == 0, subscription.Subject)
	}
}

func queueGroups() {
	var counts [3]atomic.Int64
	var alone atomic.Int64
	var connections []*nats.Conn
	for member := range counts {
		connection := connect(token)
		defer connection.Close()
		must(connection.QueueSubscribe(events+"zone.*.Created", "workers", func(*nats.Msg) { counts[member].Add(1) }))
		connections = append(connections, connection)
	}
	must(connections[0].Subscribe(events+"zone.*.Created", func(*nats.Msg) { alone.Add(1) }))
	for _, connection := range connections {
		done(connection.Flush())
	}
	for range 30 {
		makeZone(connections[0])
	}
	all := func() int64 { return counts[0].Load() + counts[1].Load() + counts[2].Load() }
	until("all of them", func() bool { return all() >= 30 && alone.Load() >= 30 })
	for member, connection := range connections {
		done(connection.Flush())
		assert(counts[member].Load() > 0, "a member that got nothing")
	}
	assert(all() == 30 && alone.Load() == 30, all(), alone.Load())
}

func unsubscribe() {
	connection := connect(token)
	defer connection.Close()
	limited := must(connection.SubscribeSync(events + "zone.*.Created"))
	done(limited.AutoUnsubscribe(2))
	last := must(connection.SubscribeSync(events + "zone.*.Created"))
	done(connection.Flush())
	for range 4 {
		makeZone(connection)
	}
	for range 4 {
		next(last)
	}
	next(limited)
	next(limited)
	_, err := limited.NextMsg(patience)
	assert(errors.Is(err, nats.ErrMaxMessages), err)
}

func drain() {
	closed := make(chan bool)
	connection := connect(token, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	var got atomic.Int64
	watching := must(connection.Subscribe(events+"zone.*.Created", func(*nats.Msg) {
		time.Sleep(50 * time.Millisecond)
		got.Add(1)
	}))
	done(connection.Flush())
	for range 5 {
		makeZone(connection)
	}
	until("all have come", func() bool {
		pending, _, err := watching.Pending()
		return err == nil && int64(pending)+got.Load() >= 5
	})
	done(watching.Drain())
	until("what was there is done with", func() bool { return got.Load() == 5 && !watching.IsValid() })
	makeZone(connection)
	done(connection.Drain())
	<-closed
	assert(got.Load() == 5)
}

func largeMessages() {
	connection := connect(token)
	defer connection.Close()
	most := make([]byte, connection.MaxPayload()+1)
	assert(errors.Is(connection.Publish("switchback.cmd.CreateZone", most), nats.ErrMaxPayload))
	for range 40 {
		makeZone(connection)
	}
	last := said(ask(connection, "switchback.cmd.CreateZone", object{"name": "last"}))
	reply := said(ask(connection, "switchback.query.QueryZone", object{"minPosition": last["position"]}))
	assert(len(reply["inventories"].([]any)) > 40)
	var all sync.WaitGroup
	for at := range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			name := []string{"QueryZone", "QueryHost", "QueryCluster", "QueryVip"}[at%4]
			assert(status(ask(connection, "switchback.query."+name, object{"count": true})) == "")
		}()
	}
	all.Wait()
}

func whatIsNotForClients() {
	var heard errorsOf
	connection := connect(token, heard.option())
	defer connection.Close()
	// Whatever a client calls its inbox, it may hear there; who it is not for hears nothing.
	inbox := must(connection.SubscribeSync("orders.new.>"))
	for _, subject := range []string{"$SYS.>", "switchback.cmd.*", "switchback.events.replay"} {
		must(connection.SubscribeSync(subject))
		until("that "+subject+" is refused", func() bool { return heard.has(subject) })
	}
	for _, subject := range []string{"orders.new.one", events + "zone.x.Created"} {
		done(connection.Publish(subject, nil))
		until("that "+subject+" is refused", func() bool { return heard.has(subject) })
	}
	assert(status(ask(connection, "switchback.query.QueryZone", nil)) == "", "the connection goes on")
	pending, _, err := inbox.Pending()
	assert(err == nil && pending == 0, "what is not for clients came to one")
	jetstream := must(connection.JetStream(nats.MaxWait(patience)))
	_, err = jetstream.AccountInfo()
	assert(err != nil && !errors.Is(err, nats.ErrTimeout), "there is no JetStream, and that is said at once")
	assert(status(ask(connection, "switchback.cmd.CreateZon", nil)) == "404")
}

func reconnects() {
	back := make(chan bool, 1)
	connection := must(nats.Connect(server, token, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { back <- true })))
	defer connection.Close()
	watching := must(connection.SubscribeSync(events + "zone.*.Created"))
	grouped := must(connection.QueueSubscribeSync(events+"zone.*.Created", "workers"))
	done(connection.Flush())
	fmt.Println("restart")
	must(bufio.NewReader(os.Stdin).ReadString('\n'))
	<-back
	zone := makeZone(connection)
	for _, subscription := range []*nats.Subscription{watching, grouped} {
		assert(strings.Contains(next(subscription).Subject, zone))
	}
}

func overTLS() {
	connection := connect(token, nats.RootCAs(os.Getenv("SWITCHBACK_CA")))
	assert(connection.TLSRequired() && status(ask(connection, "switchback.query.QueryZone", nil)) == "")
	makeZone(connection)
	connection.Close()
	_, err := nats.Connect(server, token, nats.Secure(), nats.NoReconnect())
	assert(err != nil, "a certificate of nobody")
}

func main() {
	log.SetFlags(0)
	checks := []struct {
		name  string
		check func()
	}{
		{"every_way_in", everyWayIn}, {"wrong_credentials", wrongCredentials},
		{"nobody_until_a_header_says_who", nobodyUntilAHeaderSaysWho}, {"headers_go_both_ways", headersGoBothWays},
		{"wildcards", wildcards}, {"queue_groups", queueGroups}, {"unsubscribe", unsubscribe}, {"drain", drain},
		{"large_messages", largeMessages}, {"what_is_not_for_clients", whatIsNotForClients}, {"reconnects", reconnects},
	}
	if os.Getenv("SWITCHBACK_CA") != "" {
		checks = checks[:1]
		checks[0].name, checks[0].check = "over_tls", overTLS
	}
	for _, one := range checks {
		one.check()
		fmt.Println("ok", one.name)
	}
}
