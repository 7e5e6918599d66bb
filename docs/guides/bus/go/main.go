// An orchestrator: makes a site if there is none, a VM with two nics and an EIP, and follows every event meanwhile.
//
//	SWITCHBACK_TOKEN=... go run . [--follow]
//
// With --follow it goes on following until it is interrupted. SWITCHBACK_BUS says where the bus is, SWITCHBACK_SEEN
// in which file the position of the last event is kept; the next run begins behind it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// How long a reply or an event may be silent until it is asked for again.
const patience = 3 * time.Second

type object = map[string]any

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// request makes a message that says who asks.
func request(subject string, body any) *nats.Msg {
	message := nats.NewMsg(subject)
	message.Data = must(json.Marshal(body))
	message.Header.Set("Authorization", "Bearer "+os.Getenv("SWITCHBACK_TOKEN"))
	return message
}

// refused says whether Switchback says no: with a problem of RFC 9457.
func refused(reply *nats.Msg) error {
	if reply.Header.Get("Nats-Service-Error-Code") == "" {
		return nil
	}
	var problem struct{ Code, Detail string }
	if err := json.Unmarshal(reply.Data, &problem); err != nil {
		return err
	}
	return fmt.Errorf("refused: %s: %s", problem.Code, problem.Detail)
}

// Bus asks, until there is an answer.
type Bus struct {
	connection *nats.Conn
	position   uint64 // Of the newest reply: queries see at least this.
}

type answer struct {
	Position    uint64
	Applied     bool
	Inventory   object
	Inventories []object
}

func (bus *Bus) ask(message *nats.Msg) answer {
	for {
		reply, err := bus.connection.RequestMsg(message, patience)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
			// Nobody there, or the reply was lost on its way. Asking again does no harm: see command.
			time.Sleep(200 * time.Millisecond)
			continue
		}
		must(reply, err)
		if seconds, err := strconv.Atoi(reply.Header.Get("Retry-After")); err == nil {
			time.Sleep(time.Duration(seconds) * time.Second)
			continue
		}
		must(reply, refused(reply))
		var said answer
		must(reply, json.Unmarshal(reply.Data, &said))
		bus.position = max(bus.position, said.Position)
		return said
	}
}

// command takes effect once, however often it is sent: by its id. Done when hosts and routers have it.
func (bus *Bus) command(name string, parameters object) object {
	message := request("switchback.cmd."+name, parameters)
	message.Header.Set("Nats-Msg-Id", nuid.Next())
	message.Header.Set("X-Reason", "made by the orchestrator")
	for {
		if reply := bus.ask(message); reply.Applied {
			return reply.Inventory
		}
	}
}

// ensure finds what has this name; it is made if there is none.
func (bus *Bus) ensure(create, query, name string, parameters object) object {
	conditions := object{"q": []string{"name=" + name}, "minPosition": bus.position}
	if found := bus.ask(request("switchback.query."+query, conditions)).Inventories; len(found) > 0 {
		fmt.Printf("%s: is there\n", name)
		return found[0]
	}
	parameters["name"] = name
	made := bus.command(create, parameters)
	fmt.Printf("%s: made by %s\n", name, create)
	return made
}

// Follower has every event once and in order, whatever happens to the connection: live ones, and the past where one is missing.
type Follower struct {
	connection *nats.Conn
	file       string
	seen       uint64
	moved      chan uint64
}

func follow(connection *nats.Conn) *Follower {
	follower := &Follower{connection: connection, file: environment("SWITCHBACK_SEEN", "orchestrator.seen")}
	follower.moved = make(chan uint64, 1)
	if text, err := os.ReadFile(follower.file); err == nil {
		follower.seen = must(strconv.ParseUint(string(text), 10, 64))
	} else if !errors.Is(err, fs.ErrNotExist) {
		log.Fatal(err)
	}
	follower.moved <- follower.seen
	go follower.run()
	return follower
}

func position(message *nats.Msg) uint64 {
	return must(strconv.ParseUint(message.Header.Get("Nats-Msg-Id"), 10, 64))
}

func (follower *Follower) run() {
	live := must(follower.connection.SubscribeSync("switchback.evt.>"))
	for {
		follower.catchUp()
		for {
			message, err := live.NextMsg(patience)
			if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrSlowConsumer) {
				break // Nothing happened, or the connection was lost: the past knows.
			}
			if errors.Is(err, nats.ErrConnectionClosed) {
				return
			}
			must(message, err)
			if position(message) > follower.seen+1 {
				break // One is missing. What was skipped here comes again from the past.
			}
			follower.take(message)
		}
	}
}

// catchUp asks for the past behind the last position seen, page by page.
func (follower *Follower) catchUp() {
	for !follower.page() {
	}
}

// page says whether it reached the end of the log.
func (follower *Follower) page() bool {
	inbox := follower.connection.NewRespInbox()
	page := must(follower.connection.SubscribeSync(inbox))
	defer page.Unsubscribe()
	wanted := request("switchback.events.replay", object{"after": follower.seen, "credit": 500})
	wanted.Reply = inbox
	if err := follower.connection.PublishMsg(wanted); err != nil {
		return errors.Is(err, nats.ErrConnectionClosed)
	}
	for {
		message, err := page.NextMsg(patience)
		if errors.Is(err, nats.ErrNoResponders) {
			time.Sleep(200 * time.Millisecond)
		}
		if err != nil {
			return errors.Is(err, nats.ErrConnectionClosed)
		}
		must(message, refused(message))
		if message.Header.Get("Switchback-Replay") == "" {
			follower.take(message)
			continue
		}
		var end struct{ Head uint64 }
		must(message, json.Unmarshal(message.Data, &end))
		return follower.seen >= end.Head
	}
}

func (follower *Follower) take(message *nats.Msg) {
	if position(message) != follower.seen+1 {
		return
	}
	var event struct{ Kind, StreamId, Command string }
	must(message, json.Unmarshal(message.Data, &event))
	fmt.Printf("event %d %s %s by %s\n", position(message), event.Kind, event.StreamId, event.Command)
	// Whole or not at all, whenever this program ends.
	written := follower.file + ".new"
	must(message, os.WriteFile(written, []byte(message.Header.Get("Nats-Msg-Id")), 0o644))
	must(message, os.Rename(written, follower.file))
	follower.seen = position(message)
	select { // Whoever waits is told the newest.
	case <-follower.moved:
	default:
	}
	follower.moved <- follower.seen
}

func (follower *Follower) until(position uint64) {
	for position > <-follower.moved {
	}
}

func (bus *Bus) network(zone, rack, name string, vlan int, category, net string, services ...string) string {
	l2 := bus.ensure("CreateL2VlanNetwork", "QueryL2VlanNetwork", name+"-l2",
		object{"zoneUuid": zone, "vlan": vlan, "physicalInterface": "eth0"})
	if !strings.Contains(fmt.Sprint(l2["attachedClusterUuids"]), rack) {
		bus.command("AttachL2NetworkToCluster", object{"l2NetworkUuid": l2["uuid"], "clusterUuid": rack})
	}
	l3 := bus.ensure("CreateL3Network", "QueryL3Network", name,
		object{"l2NetworkUuid": l2["uuid"], "category": category, "system": category == "System"})
	bus.ensure("AddIpRange", "QueryIpRange", name+"-range", object{
		"l3NetworkUuid": l3["uuid"], "netmask": "255.255.255.0",
		"startIp": net + ".10", "endIp": net + ".99", "gateway": net + ".1",
	})
	if given, _ := l3["networkServices"].([]any); len(services) > 0 && len(given) == 0 {
		wanted := object{"VirtualRouter": services}
		bus.command("AttachNetworkServiceToL3Network", object{"l3NetworkUuid": l3["uuid"], "networkServices": wanted})
	}
	return l3["uuid"].(string)
}

func (bus *Bus) orchestrate() {
	zone := bus.ensure("CreateZone", "QueryZone", "east", object{})["uuid"].(string)
	rack := bus.ensure("CreateCluster", "QueryCluster", "rack",
		object{"zoneUuid": zone, "hypervisorType": "Simulator"})["uuid"].(string)
	bus.ensure("AddSimulatorHost", "QueryHost", "host-1", object{"clusterUuid": rack, "managementIp": "192.168.0.10"})
	image := bus.ensure("AddImage", "QueryImage", "router", object{"url": "http://images.test/router.qcow2", "system": true})
	management := bus.network(zone, rack, "management", 10, "System", "172.20.0")
	public := bus.network(zone, rack, "public", 20, "Public", "203.0.113")
	web := bus.network(zone, rack, "web", 30, "Private", "10.0.0", "DHCP", "DNS", "SNAT", "Eip")
	data := bus.network(zone, rack, "data", 40, "Private", "10.0.1", "DHCP", "DNS")
	bus.ensure("CreateVirtualRouterOffering", "QueryVirtualRouterOffering", "small-router", object{
		"zoneUuid": zone, "imageUuid": image["uuid"], "managementNetworkUuid": management, "publicNetworkUuid": public,
		"cpuNum": 1, "memorySize": 1 << 28,
	})
	small := bus.ensure("CreateInstanceOffering", "QueryInstanceOffering", "small", object{"cpuNum": 1, "memorySize": 1 << 28})
	vm := bus.ensure("CreateVmInstance", "QueryVmInstance", "web-1",
		object{"l3NetworkUuids": []string{web, data}, "instanceOfferingUuid": small["uuid"]})
	nics := vm["vmNics"].([]any)
	fmt.Printf("web-1: %d nics, %s\n", len(nics), vm["state"])
	nic := nics[0].(object)
	if nic["l3NetworkUuid"] != web {
		nic = nics[1].(object)
	}
	vip := bus.ensure("CreateVip", "QueryVip", "web-1-vip", object{"l3NetworkUuid": public})
	eip := bus.ensure("CreateEip", "QueryEip", "web-1-eip", object{"vipUuid": vip["uuid"], "vmNicUuid": nic["uuid"]})
	fmt.Printf("web-1-eip: %s leads to %s, and its router has it\n", eip["vipIp"], eip["guestIp"])
}

func main() {
	log.SetFlags(0)
	server := environment("SWITCHBACK_BUS", nats.DefaultURL)
	options := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond)}
	if !strings.Contains(server, "@") {
		// The embedded listener knows who is there by the token; a server in between has accounts of its own.
		options = append(options, nats.Token(os.Getenv("SWITCHBACK_TOKEN")))
	}
	connection := must(nats.Connect(server, options...))
	bus, follower := &Bus{connection: connection}, follow(connection)
	bus.orchestrate()
	follower.until(bus.position)
	if len(os.Args) > 1 && os.Args[1] == "--follow" {
		select {}
	}
	connection.Close()
}
