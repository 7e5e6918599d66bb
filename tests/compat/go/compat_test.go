// Package compat drives a Switchback server with ZStack's Go SDK, as its users' programs do. The server and what the SDK
// cannot make (a zone, a cluster, a host) come from tests/compat/go.rs by the environment.
package compat

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
)

func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv("SWITCHBACK_COMPAT_" + name)
	if value == "" {
		t.Fatalf("SWITCHBACK_COMPAT_%s is not set: cargo test --test compat sets it", name)
	}
	return value
}

func config(t *testing.T) *client.ZSConfig {
	t.Helper()
	port, err := strconv.Atoi(given(t, "PORT"))
	if err != nil {
		t.Fatal(err)
	}
	return client.NewZSConfig("127.0.0.1", port, "zstack").RetryInterval(1)
}

// Somebody who has logged in with a password.
func loggedIn(t *testing.T) *client.ZSClient {
	t.Helper()
	cli := client.NewZSClient(config(t).LoginAccount("admin", given(t, "PASSWORD")))
	if _, err := cli.Login(); err != nil {
		t.Fatal("Login: ", err)
	}
	t.Cleanup(func() {
		if err := cli.Logout(); err != nil {
			t.Error("Logout: ", err)
		}
	})
	return cli
}

func must[T any](t *testing.T, what string) func(value T, err error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return value
	}
}

func done(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func equal[T comparable](t *testing.T, what string, is, wanted T) {
	t.Helper()
	if is != wanted {
		t.Fatalf("%s is %v, not %v", what, is, wanted)
	}
}

// The words of an error and of all that it wraps.
func words(err error) string {
	said := ""
	for ; err != nil; err = errors.Unwrap(err) {
		said += err.Error() + "\n"
	}
	return said
}

func refused(t *testing.T, what, with string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(words(err), with) {
		t.Fatalf("%s: %v, not a refusal with %s", what, err, with)
	}
}

func TestSessions(t *testing.T) {
	cli := client.NewZSClient(config(t).LoginAccount("admin", given(t, "PASSWORD")))
	session := must[any](t, "Login")(asAny(cli.Login()))
	if session == nil {
		t.Fatal("no session")
	}
	valid := must[map[string]bool](t, "ValidateSession")(cli.ValidateSession())
	equal(t, "the session's validity", valid["valid"], true)
	done(t, "Logout", cli.Logout())
	_, err := cli.QueryZone(param.NewQueryParam())
	if err == nil {
		t.Fatal("a session that has ended opens")
	}
	_, err = client.NewZSClient(config(t).LoginAccount("admin", "wrong")).Login()
	if err == nil {
		t.Fatal("a wrong password opens")
	}
}

// What is signed with an access key needs no log-in: reading, creating, paging, and what goes wrong.
func TestAccessKey(t *testing.T) {
	id, secret := given(t, "KEY_ID"), given(t, "KEY_SECRET")
	cli := client.NewZSClient(config(t).AccessKey(id, secret))
	zone, err := cli.GetZone(given(t, "ZONE"))
	done(t, "GetZone", err)
	equal(t, "the zone's name", zone.Name, "east")
	query := param.NewQueryParam()
	query.AddQ("name=east")
	zones, err := cli.QueryZone(query)
	done(t, "QueryZone", err)
	equal(t, "zones", len(zones), 1)
	l2, err := vlan(cli, given(t, "ZONE"), "signed", 77)
	done(t, "CreateL2VlanNetwork", err)
	done(t, "DeleteL2Network", cli.DeleteL2Network(l2, param.DeleteModePermissive))
	_, err = client.NewZSClient(config(t).AccessKey(id, "wrong")).QueryZone(param.NewQueryParam())
	refused(t, "a wrong secret", "InvalidAccessKey", err)
	_, err = client.NewZSClient(config(t).AccessKey("nobody", secret)).QueryZone(param.NewQueryParam())
	refused(t, "an unknown key", "InvalidAccessKey", err)
}

func asAny[T any](value T, err error) (any, error) { return value, err }

func vlan(cli *client.ZSClient, zone, name string, id int) (string, error) {
	l2, err := cli.CreateL2VlanNetwork(param.CreateL2VlanNetworkParam{Params: param.CreateL2VlanNetworkDetailParam{
		Vlan: id, Name: name, ZoneUuid: zone, PhysicalInterface: "eth0"}})
	return l2.UUID, err
}

func l3(t *testing.T, cli *client.ZSClient, name, category, l2 string) string {
	t.Helper()
	made, err := cli.CreateL3Network(param.CreateL3NetworkParam{Params: param.CreateL3NetworkDetailParam{
		Name: name, L2NetworkUuid: l2, Category: category, EnableIPAM: true, Type: "L3BasicNetwork"}})
	done(t, "CreateL3Network", err)
	return made.UUID
}

func TestZonesClustersHosts(t *testing.T) {
	cli := loggedIn(t)
	if version := must[string](t, "GetVersion")(cli.GetVersion()); version == "" {
		t.Fatal("no version")
	}
	nodes, err := cli.QueryManagementNode(param.NewQueryParam())
	done(t, "QueryManagementNode", err)
	equal(t, "management nodes", len(nodes), 1)
	zone, err := cli.GetZone(given(t, "ZONE"))
	done(t, "GetZone", err)
	equal(t, "the zone's name", zone.Name, "east")
	if zone.CreateDate.IsZero() {
		t.Fatal("the zone's createDate is not read")
	}
	clusters, err := cli.QueryCluster(param.NewQueryParam())
	done(t, "QueryCluster", err)
	equal(t, "clusters", len(clusters), 1)
	query := param.NewQueryParam()
	query.AddQ("clusterUuid=" + given(t, "CLUSTER"))
	hosts, total, err := cli.PageHost(query)
	done(t, "PageHost", err)
	equal(t, "hosts", len(hosts), 1)
	equal(t, "hosts in all", total, 1)
	host, err := cli.GetHost(hosts[0].UUID)
	done(t, "GetHost", err)
	equal(t, "the host's status", host.Status, "Connected")
	_, err = cli.ReconnectHost(host.UUID)
	done(t, "ReconnectHost", err)
}

func TestNetworks(t *testing.T) {
	cli, zone := loggedIn(t), given(t, "ZONE")
	l2 := must[string](t, "CreateL2VlanNetwork")(vlan(cli, zone, "l2", 1000))
	_, err := cli.AttachL2NetworkToCluster(given(t, "CLUSTER"), l2)
	done(t, "AttachL2NetworkToCluster", err)
	description := "words"
	changed, err := cli.UpdateL2Network(l2, param.UpdateL2NetworkParam{
		UpdateL2Network: param.UpdateL2NetworkDetailParam{Name: "l2b", Description: &description}})
	done(t, "UpdateL2Network", err)
	equal(t, "its name", changed.Name, "l2b")
	query := param.NewQueryParam()
	query.AddQ("name=l2b")
	for range 2 {
		page, total, err := cli.PageL2Network(query)
		done(t, "PageL2Network", err)
		equal(t, "a page", len(page), 1)
		equal(t, "all", total, 1)
	}
	network := l3(t, cli, "net", "Private", l2)
	ranged, err := cli.AddIpRange(network, param.AddIpRangeParam{Params: param.AddIpRangeDetailParam{
		Name: "r", StartIp: "10.9.0.2", EndIp: "10.9.0.100", Netmask: "255.255.255.0", Gateway: "10.9.0.1"}})
	done(t, "AddIpRange", err)
	equal(t, "its start", ranged.StartIp, "10.9.0.2")
	_, err = cli.AddIpRange(network, param.AddIpRangeParam{Params: param.AddIpRangeDetailParam{
		Name: "r", StartIp: "10.9.0.50", EndIp: "10.9.0.120", Netmask: "255.255.255.0", Gateway: "10.9.0.1"}})
	refused(t, "a range that overlaps", "SYS.1007", err)
	found, err := cli.GetIpRange(ranged.Uuid)
	done(t, "GetIpRange", err)
	equal(t, "its end", found.EndIp, "10.9.0.100")
	reserved, err := cli.AddReservedIpRange(network, param.AddReservedIpRangeParam{
		Params: param.AddReservedIpRangeDetailParam{StartIp: "10.9.0.90", EndIp: "10.9.0.99"}})
	done(t, "AddReservedIpRange", err)
	done(t, "DeleteReservedIpRange", cli.DeleteReservedIpRange(reserved.Uuid, param.DeleteModePermissive))
	done(t, "AddDnsToL3Network", cli.AddDnsToL3Network(network, param.AddDnsToL3NetworkParam{
		Params: param.AddDnsToL3NetworkDetailParam{Dns: "1.1.1.1"}}))
	shown, err := cli.GetL3Network(network)
	done(t, "GetL3Network", err)
	equal(t, "its name servers", strings.Join(shown.Dns, " "), "1.1.1.1")
	done(t, "RemoveDnsFromL3Network", cli.RemoveDnsFromL3Network(network, "1.1.1.1"))
	done(t, "SetL3NetworkMtu", cli.SetL3NetworkMtu(network, 1400))
	mtu, err := cli.GetL3NetworkMtu(network)
	done(t, "GetL3NetworkMtu", err)
	equal(t, "its MTU", int(mtu.Mtu), 1400)
	server, err := cli.GetL3NetworkDhcpIpAddress(network)
	done(t, "GetL3NetworkDhcpIpAddress", err)
	equal(t, "nobody's address", server.Ip, "")
	free, err := cli.GetFreeIp(network, param.NewQueryParam())
	done(t, "GetFreeIp", err)
	equal(t, "free addresses", len(free), 99)
	available, err := cli.CheckIpAvailability(network, "10.9.0.9")
	done(t, "CheckIpAvailability", err)
	equal(t, "10.9.0.9 to be had", available.Available, true)
	capacity, err := cli.GetIpAddressCapacity(ranged.Uuid)
	done(t, "GetIpAddressCapacity", err)
	equal(t, "its capacity", int(capacity.TotalCapacity), 99)
	_, err = cli.GetL3NetworkIpStatistic(network)
	done(t, "GetL3NetworkIpStatistic", err)
	_, err = cli.QueryIpAddress(param.NewQueryParam())
	done(t, "QueryIpAddress", err)
	renamed, err := cli.UpdateL3Network(network, param.UpdateL3NetworkParam{
		UpdateL3Network: param.UpdateL3NetworkDetailParam{Name: "net2"}})
	done(t, "UpdateL3Network", err)
	equal(t, "its name", renamed.Name, "net2")
	six, err := cli.AddIpv6RangeByNetworkCidr(network, param.AddIpv6RangeByNetworkCidrParam{
		Params: param.AddIpv6RangeByNetworkCidrDetailParam{Name: "six", NetworkCidr: "fd00:9::/64", AddressMode: "SLAAC"}})
	done(t, "AddIpv6RangeByNetworkCidr", err)
	done(t, "DeleteIpRange", cli.DeleteIpRange(six.Uuid, param.DeleteModePermissive))
	_, count, err := cli.PageL3network(param.NewQueryParam())
	done(t, "PageL3network", err)
	if count < 1 {
		t.Fatal("no L3 network is counted")
	}
	done(t, "DeleteL3Network", cli.DeleteL3Network(network, param.DeleteModeEnforcing))
	done(t, "DeleteL2Network", cli.DeleteL2Network(l2, param.DeleteModeEnforcing))
	_, err = cli.GetL2Network(l2)
	if err == nil {
		t.Fatal("what was deleted is found")
	}
	done(t, "DeleteL2Network again", cli.DeleteL2Network(l2, param.DeleteModePermissive))
}

func TestVmAndRouter(t *testing.T) {
	cli, zone, cluster := loggedIn(t), given(t, "ZONE"), given(t, "CLUSTER")
	l2 := must[string](t, "CreateL2VlanNetwork")(vlan(cli, zone, "guest", 1001))
	flat, err := cli.CreateL2NoVlanNetwork(param.CreateL2NoVlanNetworkParam{
		Params: param.CreateL2NoVlanNetworkDetailParam{Name: "public", ZoneUuid: zone, PhysicalInterface: "eth1"}})
	done(t, "CreateL2NoVlanNetwork", err)
	for _, network := range []string{l2, flat.UUID} {
		_, err = cli.AttachL2NetworkToCluster(cluster, network)
		done(t, "AttachL2NetworkToCluster", err)
	}
	guest, public := l3(t, cli, "guest", "Private", l2), l3(t, cli, "public", "Public", flat.UUID)
	for network, cidr := range map[string]string{guest: "10.8.0.0/24", public: "203.0.113.0/24"} {
		_, err = cli.AddIpRangeByNetworkCidr(network, param.AddIpRangeByNetworkCidrParam{
			Params: param.AddIpRangeByNetworkCidrDetailParam{Name: "r", NetworkCidr: cidr}})
		done(t, "AddIpRangeByNetworkCidr", err)
	}
	providers, err := cli.QueryNetworkServiceProvider(param.NewQueryParam())
	done(t, "QueryNetworkServiceProvider", err)
	for _, provider := range providers {
		if provider.Type == "VirtualRouter" {
			done(t, "AttachNetworkServiceToL3Network", cli.AttachNetworkServiceToL3Network(guest,
				param.AttachNetworkServiceToL3NetworkParam{Params: param.AttachNetworkServiceToL3NetworkDetailParam{
					NetworkServices: map[string][]string{provider.Uuid: {"DHCP", "DNS", "SNAT"}}}}))
		}
	}
	image, err := cli.AddImage(param.AddImageParam{
		Params: param.AddImageDetailParam{Name: "vr", Url: "http://images.test/vr.qcow2"}})
	done(t, "AddImage", err)
	offering, err := cli.CreateVirtualRouterOffering(param.CreateVirtualRouterOfferingParam{
		Params: param.CreateVirtualRouterOfferingDetailParam{Name: "vro", ZoneUuid: zone, ManagementNetworkUuid: public,
			PublicNetworkUuid: public, ImageUuid: image.UUID, IsDefault: true, CpuNum: 1, MemorySize: 1 << 29,
			Type: "VirtualRouter"}})
	done(t, "CreateVirtualRouterOffering", err)
	same, err := cli.GetVirtualRouterOffering(offering.UUID)
	done(t, "GetVirtualRouterOffering", err)
	equal(t, "its public network", same.PublicNetworkUuid, public)
	plain, err := cli.CreateInstanceOffering(&param.CreateInstanceOfferingParam{
		Params: param.CreateInstanceOfferingDetailParam{Name: "small", CpuNum: 1, MemorySize: 1 << 28}})
	done(t, "CreateInstanceOffering", err)
	vm, err := cli.CreateVmInstance(param.CreateVmInstanceParam{Params: param.CreateVmInstanceDetailParam{Name: "vm",
		InstanceOfferingUUID: plain.UUID, L3NetworkUuids: []string{guest}, Strategy: param.InstantStart}})
	done(t, "CreateVmInstance", err)
	equal(t, "the VM's state", vm.State, "Running")
	routers, err := cli.QueryVirtualRouterVm(param.NewQueryParam())
	done(t, "QueryVirtualRouterVm", err)
	equal(t, "routers", len(routers), 1)
	router, err := cli.GetVirtualRouterVm(routers[0].UUID)
	done(t, "GetVirtualRouterVm", err)
	equal(t, "the router's management network", router.ManagementNetworkUuid, public)
	equal(t, "the router's status", router.Status, "Connected")
	_, err = cli.StopVmInstance(vm.UUID, param.StopVmInstanceParam{
		StopVmInstance: param.StopVmInstanceDetailParam{Type: param.Grace}})
	done(t, "StopVmInstance", err)
	_, err = cli.StartVmInstance(vm.UUID, nil)
	done(t, "StartVmInstance", err)
	_, err = cli.RebootVmInstance(vm.UUID)
	done(t, "RebootVmInstance", err)
	_, err = cli.PauseVmInstance(vm.UUID)
	done(t, "PauseVmInstance", err)
	_, err = cli.ResumeVmInstance(vm.UUID)
	done(t, "ResumeVmInstance", err)
	_, err = cli.AttachL3NetworkToVm(public, vm.UUID, param.AttachL3NetworkToVmParam{})
	done(t, "AttachL3NetworkToVm", err)
	query := param.NewQueryParam()
	query.AddQ("l3NetworkUuid=" + public).AddQ("vmInstanceUuid=" + vm.UUID)
	nics, err := cli.QueryVmNic(query)
	done(t, "QueryVmNic", err)
	equal(t, "public nics", len(nics), 1)
	_, err = cli.DetachL3NetworkFromVm(nics[0].UUID)
	done(t, "DetachL3NetworkFromVm", err)
	done(t, "SetVmStaticIp", cli.SetVmStaticIp(vm.UUID, param.SetVmStaticIpParam{
		SetVmStaticIp: param.SetVmStaticIpDetailParam{L3NetworkUuid: guest, Ip: "10.8.0.99"}}))
	moved, err := cli.GetVmInstance(vm.UUID)
	done(t, "GetVmInstance", err)
	equal(t, "its address", moved.VMNics[0].IP, "10.8.0.99")
	err = cli.DeleteL3Network(guest, param.DeleteModePermissive)
	refused(t, "a network in use", "vm", err)
	done(t, "DestroyVmInstance", cli.DestroyVmInstance(vm.UUID, param.DeleteModePermissive))
	done(t, "ExpungeVmInstance", cli.ExpungeVmInstance(vm.UUID))
	_, err = cli.GetVmInstance(vm.UUID)
	if err == nil {
		t.Fatal("what was expunged is found")
	}
	done(t, "DeleteL3Network", cli.DeleteL3Network(guest, param.DeleteModeEnforcing))
	done(t, "DeleteInstanceOffering", cli.DeleteInstanceOffering(offering.UUID, param.DeleteModePermissive))
	done(t, "DeleteInstanceOffering", cli.DeleteInstanceOffering(plain.UUID, param.DeleteModePermissive))
	done(t, "DeleteImage", cli.DeleteImage(image.UUID, param.DeleteModePermissive))
}

func TestVips(t *testing.T) {
	cli := loggedIn(t)
	l2 := must[string](t, "CreateL2VlanNetwork")(vlan(cli, given(t, "ZONE"), "vips", 1001))
	network := l3(t, cli, "vips", "Public", l2)
	_, err := cli.AddIpRange(network, param.AddIpRangeParam{Params: param.AddIpRangeDetailParam{
		Name: "r", StartIp: "10.19.0.2", EndIp: "10.19.0.100", Netmask: "255.255.255.0", Gateway: "10.19.0.1"}})
	done(t, "AddIpRange", err)
	vip, err := cli.CreateVip(param.CreateVipParam{Params: param.CreateVipDetailParam{
		Name: "vip", L3NetworkUUID: network, RequiredIp: "10.19.0.9"}})
	done(t, "CreateVip", err)
	equal(t, "its address", vip.Ip, "10.19.0.9")
	changed, err := cli.UpdateVip(param.UpdateVipParam{
		UUID: vip.UUID, UpdateVip: param.UpdateVipDetailParam{Name: "other"}})
	done(t, "UpdateVip", err)
	equal(t, "its name", changed.Name, "other")
	query := param.NewQueryParam()
	query.AddQ("name=other")
	vips, err := cli.QueryVip(query)
	done(t, "QueryVip", err)
	equal(t, "VIPs", len(vips), 1)
	vip, err = cli.GetVip(vip.UUID)
	done(t, "GetVip", err)
	equal(t, "its gateway", vip.Gateway, "10.19.0.1")
	eip, err := cli.CreateEip(param.CreateEipParam{Params: param.CreateEipDetailParam{Name: "eip", VipUuid: vip.UUID}})
	done(t, "CreateEip", err)
	equal(t, "its address", eip.VipIp, "10.19.0.9")
	used, err := cli.GetVip(vip.UUID)
	done(t, "GetVip", err)
	equal(t, "what it is used for", used.UseFor, "Eip")
	equal(t, "by how many", len(used.ServicesRefs), 1)
	nics, err := cli.GetEipAttachableVmNics(param.GetEipAttachableVmNicsParam{EipUuid: eip.UUID})
	done(t, "GetEipAttachableVmNics", err)
	equal(t, "nics that it could have", len(nics), 0)
	eip, err = cli.ChangeEipState(param.ChangeEipStateParam{
		UUID: eip.UUID, ChangeEipState: param.ChangeEipStateDetailParam{StateEvent: "disable"}})
	done(t, "ChangeEipState", err)
	equal(t, "its state", eip.State, "Disabled")
	eip, err = cli.UpdateEip(param.UpdateEipParam{
		UUID: eip.UUID, UpdateEip: param.UpdateEipDetailParam{Name: "other"}})
	done(t, "UpdateEip", err)
	eips, total, err := cli.PageEip(query)
	done(t, "PageEip", err)
	equal(t, "EIPs", len(eips), 1)
	equal(t, "in all", total, 1)
	refused(t, "detaching what is not attached", "SYS.1006", cli.DetachEip(eip.UUID))
	done(t, "DeleteEip", cli.DeleteEip(eip.UUID, param.DeleteModePermissive))
	done(t, "DeleteVip", cli.DeleteVip(vip.UUID, param.DeleteModePermissive))
}

func TestSecurityGroups(t *testing.T) {
	cli := loggedIn(t)
	create := func(name string) string {
		group, err := cli.CreateSecurityGroup(param.CreateSecurityGroupParam{
			Params: param.CreateSecurityGroupDetailParam{Name: name, IpVersion: 4}})
		done(t, "CreateSecurityGroup", err)
		return group.UUID
	}
	web, clients := create("web"), create("clients")
	group, err := cli.AddSecurityGroupRule(web, param.AddSecurityGroupRuleParam{
		Params: param.AddSecurityGroupRuleDetailParam{Priority: -1, Rules: []param.AddSecurityGroupRule{
			{RuleType: "Ingress", Protocol: "TCP", SrcIpRange: "10.0.0.0/8", DstPortRange: "80,443"},
			{RuleType: "Ingress", Protocol: "ICMP", RemoteSecurityGroupUuid: clients, Action: "DROP"}}}})
	done(t, "AddSecurityGroupRule", err)
	equal(t, "its state", group.State, "Enabled")
	query := param.NewQueryParam()
	query.AddQ("securityGroupUuid=" + web).AddQ("protocol=TCP")
	rules, err := cli.QuerySecurityGroupRule(query)
	done(t, "QuerySecurityGroupRule", err)
	equal(t, "rules for TCP", len(rules), 1)
	equal(t, "their ports", rules[0].DstPortRange, "80,443")
	_, err = cli.UpdateSecurityGroupRule(rules[0].UUID, param.UpdateSecurityGroupRuleParam{
		ChangeSecurityGroupRule: param.UpdateSecurityGroupRuleDetailParam{State: "Disabled", Priority: 1}})
	done(t, "UpdateSecurityGroupRule", err)
	rule, err := cli.GetSecurityGroupRule(rules[0].UUID)
	done(t, "GetSecurityGroupRule", err)
	equal(t, "the rule's state", rule.State, "Disabled")
	nics, err := cli.GetCandidateVmNicForSecurityGroup(web)
	done(t, "GetCandidateVmNicForSecurityGroup", err)
	equal(t, "nics that could join", len(nics), 0)
	done(t, "DeleteSecurityGroupRule", cli.DeleteSecurityGroupRule(rules[0].UUID))
	for _, uuid := range []string{web, clients} {
		done(t, "DeleteSecurityGroup", cli.DeleteSecurityGroup(uuid, param.DeleteModePermissive))
	}
	groups, err := cli.QuerySecurityGroup(param.NewQueryParam())
	done(t, "QuerySecurityGroup", err)
	equal(t, "security groups", len(groups), 0)
}

func TestTagsAndConfig(t *testing.T) {
	cli, zone := loggedIn(t), given(t, "ZONE")
	tag, err := cli.CreateUserTag(param.CreateTagParam{
		Params: param.CreateTagDetailParam{ResourceType: "ZoneVO", ResourceUuid: zone, Tag: "blue"}})
	done(t, "CreateUserTag", err)
	query := param.NewQueryParam()
	query.AddQ("__userTag__=blue")
	tagged, err := cli.QueryZone(query)
	done(t, "QueryZone", err)
	equal(t, "zones with the tag", len(tagged), 1)
	tags, err := cli.ListAllUserTags()
	done(t, "ListAllUserTags", err)
	equal(t, "user tags", len(tags), 1)
	done(t, "DeleteTag", cli.DeleteTag(tag.Uuid, param.DeleteModePermissive))
	if _, err = cli.QueryGlobalConfig(param.NewQueryParam()); err != nil {
		t.Fatal("QueryGlobalConfig: ", err)
	}
	set, err := cli.UpdateGlobalConfig("virtualRouter", "command.parallelismDegree", param.UpdateGlobalConfigParam{
		UpdateGlobalConfig: param.UpdateConfigDetailParam{Value: "9"}})
	done(t, "UpdateGlobalConfig", err)
	equal(t, "its value", set.Value, "9")
	_, err = cli.UpdateGlobalConfig("virtualRouter", "command.parallelismDegree", param.UpdateGlobalConfigParam{
		UpdateGlobalConfig: param.UpdateConfigDetailParam{Value: "none"}})
	refused(t, "a value that is no number", "SYS.1007", err)
}

// What ZStack has and Switchback has not says so, by the message's name.
func TestWhatIsNotThere(t *testing.T) {
	cli := loggedIn(t)
	_, err := cli.QuerySdnController(param.NewQueryParam())
	refused(t, "QuerySdnController", "SYS.1104", err)
}
